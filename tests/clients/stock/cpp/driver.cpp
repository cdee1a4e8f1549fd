#include "driver.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <cmath>
#include <utility>

namespace {

using bearerd::v1::GetTokenRequest;
using bearerd::v1::GetTokenResponse;
using bearerd::v1::WatchTokenRequest;
using bearerd::v1::WatchTokenResponse;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

/// The number of seconds under this key; absent if there is none or it is null.
Patience seconds(const Json& command, const char* key) {
  const auto found = command.find(key);
  if (found == command.end() || found->is_null()) return std::nullopt;
  return std::chrono::duration<double>(found->get<double>());
}

/// The text under this key; empty if there is none or it is null.
std::string text(const Json& command, const char* key) {
  const auto found = command.find(key);
  return found == command.end() || found->is_null() ? std::string() : found->get<std::string>();
}

void set_deadline(grpc::ClientContext& context, Patience patience) {
  using Clock = std::chrono::system_clock;
  if (patience) context.set_deadline(Clock::now() + std::chrono::duration_cast<Clock::duration>(*patience));
}

/// An enum value's name in JSON: without the prefix that Protocol Buffers' style wants.
std::string bare(const std::string& name, const std::string& prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

Json describe_state(const WatchTokenResponse& message) {
  if (message.has_unavailable()) return {{"ok", true}, {"unavailable", message.unavailable().reason()}};
  return {{"ok", true}, {"id", message.token().id()}};
}

Json describe_health(const HealthCheckResponse& message) {
  return {{"ok", true}, {"status", HealthCheckResponse::ServingStatus_Name(message.status())}};
}

}  // namespace

Driver::Driver(const std::string& socket)
    : channel_(grpc::CreateChannel("unix://" + socket, grpc::InsecureChannelCredentials())),
      broker_(bearerd::v1::TokenBroker::NewStub(channel_)),
      health_(grpc::health::v1::Health::NewStub(channel_)) {}

Json Driver::answer(const Json& command) {
  const std::string verb = text(command, "do");
  if (verb == "get") return get(command);
  if (verb == "watch") return watch(command);
  if (verb == "next") return next(command.at("watch").get<std::size_t>(), seconds(command, "timeout_s"));
  if (verb == "list") return list();
  if (verb == "health") return health(command);
  if (verb == "health_watch") return watch_health(command);
  return {{"ok", false}, {"reason", "UNKNOWN_COMMAND"}};
}

Json Driver::get(const Json& command) {
  GetTokenRequest request;
  request.set_client(text(command, "client"));
  request.set_rejected_token_id(text(command, "rejected"));
  if (const auto least = seconds(command, "min_validity_s")) {
    const double whole = std::floor(least->count());
    request.mutable_min_validity()->set_seconds(static_cast<int64_t>(whole));
    request.mutable_min_validity()->set_nanos(static_cast<int32_t>((least->count() - whole) * 1e9));
  }
  grpc::ClientContext context;
  set_deadline(context, seconds(command, "timeout_s"));
  GetTokenResponse response;
  if (const auto status = broker_->GetToken(&context, request, &response); !status.ok()) return failure(status);
  Json headers = Json::array();
  for (const auto& header : response.token().headers()) {
    headers.push_back({{"name", header.name()},
                       {"value", header.value()},
                       {"per_call", header.per_call()},
                       {"pattern", header.pattern()}});
  }
  return {{"ok", true},
          {"id", response.token().id()},
          {"authorization", response.token().authorization()},
          {"rejection", bare(bearerd::v1::Rejection_Name(response.rejection()), "REJECTION_")},
          {"headers", std::move(headers)}};
}

Json Driver::list() {
  grpc::ClientContext context;
  bearerd::v1::ListClientsResponse response;
  if (const auto status = broker_->ListClients(&context, {}, &response); !status.ok()) return failure(status);
  Json clients = Json::array();
  for (const auto& client : response.clients()) {
    const auto state = bare(bearerd::v1::ClientState_Name(client.state()), "CLIENT_STATE_");
    clients.push_back({{"name", client.name()}, {"state", state}});
  }
  return {{"ok", true}, {"clients", std::move(clients)}};
}

Json Driver::health(const Json& command) {
  HealthCheckRequest request;
  request.set_service(text(command, "service"));
  grpc::ClientContext context;
  HealthCheckResponse response;
  const auto status = health_->Check(&context, request, &response);
  return status.ok() ? describe_health(response) : failure(status);
}

Json Driver::watch(const Json& command) {
  WatchTokenRequest request;
  request.set_client(text(command, "client"));
  const auto open = [&](auto* context) { return broker_->WatchToken(context, request); };
  return keep(std::make_unique<StreamOf<WatchTokenResponse>>(open, describe_state));
}

Json Driver::watch_health(const Json& command) {
  HealthCheckRequest request;
  request.set_service(text(command, "service"));
  const auto open = [&](auto* context) { return health_->Watch(context, request); };
  return keep(std::make_unique<StreamOf<HealthCheckResponse>>(open, describe_health));
}

Json Driver::keep(std::unique_ptr<Stream> stream) {
  streams_.push_back(std::move(stream));
  return next(streams_.size(), std::nullopt);
}

Json Driver::next(std::size_t number, Patience patience) {
  Json message = streams_.at(number - 1)->next(patience);
  if (message.at("ok")) message["watch"] = number;
  return message;
}
