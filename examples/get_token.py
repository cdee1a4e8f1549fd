#!/usr/bin/env python3
"""Prints the demo client's Authorization header. Run it from the repository; needs `pip install grpcio grpcio-tools`."""
import os
import sys

import grpc

sys.path.insert(0, "proto")  # where grpc finds the definitions below
protos, services = grpc.protos_and_services("bearerd/v1/token_broker.proto")
channel = grpc.insecure_channel("unix://" + os.environ.get("BEARERD_SOCKET", "/run/bearerd/bearerd.sock"))
broker = services.TokenBrokerStub(channel)
token = broker.GetToken(protos.GetTokenRequest(client="demo"), timeout=10).token
print(token.authorization)
