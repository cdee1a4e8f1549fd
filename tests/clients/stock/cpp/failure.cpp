#include "failure.h"

#include <grpcpp/support/error_details.h>

#include <array>
#include <sstream>

#include "google/rpc/error_details.pb.h"

namespace {

/// The names of grpc::StatusCode in order; the library has none.
constexpr std::array CODES{
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

std::string name_of(grpc::StatusCode code) {
  const auto number = static_cast<std::size_t>(code);
  return number < CODES.size() ? CODES[number] : std::to_string(code);
}

Json answer(std::string code, std::string message) {
  return {{"ok", false},       {"code", std::move(code)}, {"message", std::move(message)},
          {"domain", nullptr}, {"reason", nullptr},       {"retry_after_s", nullptr}};
}

}  // namespace

Json failure(const grpc::Status& status) {
  Json told = answer(name_of(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (!grpc::ExtractErrorDetails(status, &details).ok()) return told;
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) {
      told["domain"] = info.domain();
      told["reason"] = info.reason();
    } else if (detail.UnpackTo(&retry)) {
      told["retry_after_s"] = static_cast<double>(retry.retry_delay().seconds()) + retry.retry_delay().nanos() / 1e9;
    }
  }
  return told;
}

Json nothing_in_time(double seconds) {
  std::ostringstream message;
  message << "no message within " << seconds << " s";
  return answer("DEADLINE_EXCEEDED", message.str());
}
