// Carries out the commands of the stock client protocol on one channel.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "bearerd/v1/token_broker.grpc.pb.h"
#include "failure.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "stream.h"

class Driver {
 public:
  /// Everything goes over one channel to the daemon at this path, made with the library's default options.
  explicit Driver(const std::string& socket);

  /// The answer to one command.
  Json answer(const Json& command);

 private:
  Json get(const Json& command);
  Json list();
  Json health(const Json& command);
  Json watch(const Json& command);
  Json watch_health(const Json& command);
  /// The next message of a stream, or its end as a failure.
  Json next(std::size_t number, Patience patience);
  /// Numbers a stream, from 1, and gives its first message.
  Json keep(std::unique_ptr<Stream> stream);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<bearerd::v1::TokenBroker::Stub> broker_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  std::vector<std::unique_ptr<Stream>> streams_;
};
