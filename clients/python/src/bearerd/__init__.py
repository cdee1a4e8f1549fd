"""Access tokens from bearerd, the token broker of this host.

>>> import bearerd
>>> broker = bearerd.Broker()
>>> token = broker.client("partner").token()

``bearerd.requests`` and ``bearerd.httpx`` authorize the requests of those libraries, ``bearerd.aio`` is for asyncio.
"""

from ._client import Broker, Client
from ._errors import BearerdError
from ._token import Proof, Rejection, Replacement, RequestHeader, Token

__all__ = ["BearerdError", "Broker", "Client", "Proof", "Rejection", "Replacement", "RequestHeader", "Token"]
__version__ = "0.1.0"
