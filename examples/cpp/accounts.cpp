// Calls the partner's API at $PARTNER_URL as client `partner` and prints the answer's body: stock gRPC for the token,
// libcurl for the call. After a 401 it reports the token and calls once more with another.
#include <curl/curl.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>

#include "bearerd/v1/token_broker.grpc.pb.h"
#include "error_details.pb.h"

using bearerd::v1::Token;
using bearerd::v1::TokenBroker;

/// The stable reason of a failed call, like CLIENT_UNKNOWN. Without one the daemon was not reached.
std::string reason_of(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info) && info.domain() == "bearerd") return info.reason();
  }
  return "no reason given";
}

/// A token of the client. `rejected` is the id of one that the API answered with 401, or empty.
Token get_token(TokenBroker::Stub& broker, const std::string& client, const std::string& rejected) {
  bearerd::v1::GetTokenRequest request;
  request.set_client(client);
  request.set_rejected_token_id(rejected);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  bearerd::v1::GetTokenResponse response;
  const auto status = broker.GetToken(&context, request, &response);
  if (!status.ok()) throw std::runtime_error(status.error_message() + " [" + reason_of(status) + "]");
  return response.token();
}

using HeaderLines = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

/// The header lines of one call. `values` are those that the API wants anew for each: without one, nothing is sent.
HeaderLines header_lines(const Token& token, const std::map<std::string, std::string>& values) {
  HeaderLines lines(nullptr, curl_slist_free_all);
  const auto add = [&](const std::string& name, const std::string& value) {
    curl_slist* longer = curl_slist_append(lines.get(), (name + ": " + value).c_str());
    if (longer == nullptr) throw std::bad_alloc();
    static_cast<void>(lines.release());
    lines.reset(longer);
  };
  add("Authorization", token.authorization());
  for (const auto& header : token.headers()) {
    std::string value = header.value();
    if (header.per_call()) {
      const auto given = values.find(header.name());
      if (given == values.end() || given->second.empty()) throw std::runtime_error(header.name() + " is missing");
      value = given->second;
      if (value.find_first_of("\r\n") != std::string::npos)
        throw std::runtime_error(header.name() + " has a line break");
      if (!header.pattern().empty() && !std::regex_match(value, std::regex(header.pattern()))) {
        throw std::runtime_error(header.name() + " is not like " + header.pattern());
      }
    }
    add(header.name(), value);
  }
  return lines;
}

struct Answer {
  long status = 0;
  std::string body;
};

std::size_t append(char* data, std::size_t size, std::size_t count, void* body) {
  static_cast<std::string*>(body)->append(data, size * count);
  return size * count;
}

/// One GET. Redirects are not followed: libcurl would take the fixed headers along to another host.
Answer get(const std::string& url, const HeaderLines& lines) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> call(curl_easy_init(), curl_easy_cleanup);
  if (!call) throw std::runtime_error("libcurl does not start");
  Answer answer;
  curl_easy_setopt(call.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(call.get(), CURLOPT_HTTPHEADER, lines.get());
  curl_easy_setopt(call.get(), CURLOPT_TIMEOUT, 30L);
  curl_easy_setopt(call.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(call.get(), CURLOPT_WRITEDATA, &answer.body);
  if (const CURLcode code = curl_easy_perform(call.get())) throw std::runtime_error(curl_easy_strerror(code));
  curl_easy_getinfo(call.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

/// A setting of the environment.
std::string setting(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

int main() try {
  const std::string url = setting("PARTNER_URL", "https://api.partner.example") + "/api/accounts";
  // One channel for the whole program; it connects when it is needed, and again after the daemon was restarted. Without
  // the option it may take up to two minutes to see that a daemon that was away for long is back.
  grpc::ChannelArguments options;
  options.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  const auto broker = TokenBroker::NewStub(grpc::CreateCustomChannel(
      "unix://" + setting("BEARERD_SOCKET", "/run/bearerd/bearerd.sock"), grpc::InsecureChannelCredentials(), options));

  // Asked for before each call: the daemon answers from memory.
  Token token = get_token(*broker, "partner", "");
  Answer answer = get(url, header_lines(token, {{"Requestor-ID", "4711"}}));
  if (answer.status == 401) {
    const std::string used = token.id();
    token = get_token(*broker, "partner", used);
    if (token.id() != used) answer = get(url, header_lines(token, {{"Requestor-ID", "4711"}}));
  }
  std::cout << answer.body << '\n';
  return answer.status == 200 ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return EXIT_FAILURE;
}
