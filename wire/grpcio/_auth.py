"""Plugins for tokens. Imports the abstract classes."""

from __future__ import annotations

import inspect
from typing import Any

from wire.grpcio import _abstract


class GoogleCallCredentials(_abstract.AuthMetadataPlugin):
    """Tokens of credentials of the oauth2client library."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        self._is_jwt = "additional_claims" in inspect.getfullargspec(credentials.get_access_token).args

    def __call__(self, context: Any, callback: Any) -> None:
        claims = {"additional_claims": {"aud": context.service_url}} if self._is_jwt else {}
        try:
            token = self._credentials.get_access_token(**claims).access_token
        except Exception as exception:
            callback((("authorization", "Bearer None"),), exception)
        else:
            callback((("authorization", f"Bearer {token}"),), None)


class AccessTokenAuthMetadataPlugin(_abstract.AuthMetadataPlugin):
    """One token."""

    def __init__(self, access_token: str) -> None:
        self._access_token = access_token

    def __call__(self, context: Any, callback: Any) -> None:
        callback((("authorization", f"Bearer {self._access_token}"),), None)
