// What a failed call tells, read from the status and its google.rpc details, never from the text.
#pragma once

#include <grpcpp/support/status.h>

#include <nlohmann/json.hpp>
#include <string>

using Json = nlohmann::ordered_json;

/// The answer for a call that failed: code, message, domain, reason and the wait that is advised, in seconds.
Json failure(const grpc::Status& status);

/// The answer when no message came in the time that was given. The stream stays open.
Json nothing_in_time(double seconds);
