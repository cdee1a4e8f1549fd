"""Prints a partner's accounts. `pip install 'clients/python[requests]'`; the API's address is in $PARTNER_URL."""

import os

import requests

import bearerd
from bearerd.requests import BearerdAuth

broker = bearerd.Broker()
session = requests.Session()
session.auth = BearerdAuth(broker.client("partner"))

response = session.get(os.environ["PARTNER_URL"] + "/api/accounts", headers={"Requestor-ID": "4711"}, timeout=10)
response.raise_for_status()
print(response.text)
