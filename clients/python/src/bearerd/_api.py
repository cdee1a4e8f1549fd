"""The daemon's messages and methods, from a descriptor pool of this library's own.

The classes are made from descriptors at run time, with the protobuf library's public API, instead of by generated
code: that works with every protobuf version from 4.25 on, and a pool of our own cannot collide with another copy of
the same definitions in the process (generated code of the application, googleapis-common-protos).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ._descriptors import DESCRIPTORS

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS).file:
    _pool.AddSerializedFile(_file.SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


GetTokenRequest = _message("bearerd.v1.GetTokenRequest")
SignProofRequest = _message("bearerd.v1.SignProofRequest")
WatchTokenRequest = _message("bearerd.v1.WatchTokenRequest")
Status = _message("google.rpc.Status")
ErrorInfo = _message("google.rpc.ErrorInfo")
RetryInfo = _message("google.rpc.RetryInfo")

GET_TOKEN = "/bearerd.v1.TokenBroker/GetToken"
SIGN_PROOF = "/bearerd.v1.TokenBroker/SignProof"
WATCH_TOKEN = "/bearerd.v1.TokenBroker/WatchToken"

RESPONSES: dict[str, Any] = {
    GET_TOKEN: _message("bearerd.v1.GetTokenResponse"),
    SIGN_PROOF: _message("bearerd.v1.SignProofResponse"),
    WATCH_TOKEN: _message("bearerd.v1.WatchTokenResponse"),
}
"""What each method answers with."""


def seconds(moment: Any) -> float:
    """A Timestamp or a Duration in seconds."""
    return float(moment.seconds) + float(moment.nanos) / 1e9
