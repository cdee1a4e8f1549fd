// A stream from the daemon whose messages are waited for with patience.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>

#include "failure.h"

/// How long to wait; forever if absent.
using Patience = std::optional<std::chrono::duration<double>>;

/// A stream of any message.
class Stream {
 public:
  virtual ~Stream() = default;
  /// The next message, the stream's end as a failure, or that nothing came in time.
  virtual Json next(Patience patience) = 0;
};

/// A stream of one kind of message. A read runs on a thread of its own and outlives a wait for it: the message that
/// comes later is the answer to the next wait.
template <typename Message>
class StreamOf final : public Stream {
 public:
  using Open = std::function<std::unique_ptr<grpc::ClientReader<Message>>(grpc::ClientContext*)>;
  using Describe = Json (*)(const Message&);

  StreamOf(const Open& open, Describe describe) : reader_(open(&context_)), describe_(describe) {}

  ~StreamOf() override {
    context_.TryCancel();
    if (pending_.valid()) pending_.wait();
    // A call that was begun must be finished before it is destroyed.
    while (!end_) read();
  }

  Json next(Patience patience) override {
    if (!pending_.valid()) pending_ = std::async(std::launch::async, [this] { return read(); });
    if (patience && pending_.wait_for(*patience) == std::future_status::timeout) {
      return nothing_in_time(patience->count());
    }
    return pending_.get();
  }

 private:
  Json read() {
    Message message;
    if (!end_ && reader_->Read(&message)) return describe_(message);
    if (!end_) end_ = reader_->Finish();
    return failure(*end_);
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<Message>> reader_;
  Describe describe_;
  std::optional<grpc::Status> end_;
  std::future<Json> pending_;
};
