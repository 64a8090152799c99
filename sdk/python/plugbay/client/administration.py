"""What administrators do: permissions, configuration, keys, tokens, the audit log."""

from __future__ import annotations

from typing import Any, Sequence, Union

from plugbay.client.asking import Asking, Object, given, plugin, query, segment

#: `network_access`, or `{"permission": "network_access", "scope": ["api.example.com"]}`.
Permission = Union[str, Object]


class Administration(Asking):
    """Needs the scopes approve, operate, trust, audit and admin, each for its own."""

    def get_permissions(self, plugin_id: str) -> Object:
        """What a plugin asks for, what was decided, and what is pending."""
        return self._ask("GET", plugin(plugin_id, "/permissions"))

    def approve_plugin(
        self,
        plugin_id: str,
        grant: Sequence[Permission] = (),
        deny: Sequence[Permission] = (),
        accept_risks: Sequence[str] = (),
        note: str | None = None,
        expires_at: str | None = None,
        digest: str | None = None,
    ) -> Object:
        """Decides what a plugin may do. Entries of `pending` of `get_permissions` are elements of `grant`.

        With `digest` the decision is about that archive alone, and another one raises `digest-changed`.
        """
        body = given(note=note, expires_at=expires_at, digest=digest)
        body.update(grant=list(grant), deny=list(deny), accept_risks=list(accept_risks))
        return self._ask("POST", plugin(plugin_id, "/permissions/approve"), body)

    def revoke_permissions(self, plugin_id: str, permissions: Sequence[Permission], note: str | None = None) -> Object:
        """Takes back what was granted; it holds at once."""
        body = {"permissions": list(permissions), **given(note=note)}
        return self._ask("POST", plugin(plugin_id, "/permissions/revoke"), body)

    def get_config(self, plugin_id: str) -> Object:
        """The configuration, its schema, what is missing, and `etag`, which `set_config` takes."""
        return self._config("GET", plugin_id, "")

    def set_config(self, plugin_id: str, config: Object, etag: str = "*") -> Object:
        """Replaces the configuration; a secret that is `None` is kept, a field that is left out has its default again.

        With the `etag` of `get_config`, a change by another client meanwhile raises `etag-mismatch`.
        """
        return self._config("PUT", plugin_id, "", config, etag)

    def unset_config(self, plugin_id: str, field: str, etag: str = "*") -> Object:
        """Forgets what is set for a field."""
        return self._config("DELETE", plugin_id, "/" + segment(field, "the name of a field"), None, etag)

    def validate_config(self, plugin_id: str, config: Object) -> Object:
        """Answers as `set_config` would, and changes nothing."""
        return self._ask("POST", plugin(plugin_id, "/config/validate"), config)

    def _config(
        self, method: str, plugin_id: str, rest: str, body: Object | None = None, etag: str | None = None
    ) -> Object:
        headers = {} if etag is None else {"If-Match": etag}
        path = plugin(plugin_id, "/config") + rest
        found, now = self._transport.exchange_json(method, path, body, self._timeout, headers)
        return {**found, "etag": now}

    def add_key(
        self,
        public_key: str,
        label: str,
        names: Sequence[str],
        not_before: str | None = None,
        not_after: str | None = None,
    ) -> Object:
        """Trusts a signing key for plugins of these names."""
        body = {"public_key": public_key, "label": label, "names": list(names)}
        return self._ask("POST", "/api/keys", {**body, **given(not_before=not_before, not_after=not_after)})

    def list_keys(self) -> list[Object]:
        """The signing keys, also those that were revoked."""
        return list(self._ask("GET", "/api/keys")["keys"])

    def revoke_key(self, key_id: str, reason: str | None = None) -> Object:
        """Trusts a key no more; plugins whose serving version it signed are quarantined."""
        return self._ask("DELETE", f"/api/keys/{segment(key_id, 'the id of a key')}{query({'reason': reason})}")

    def create_token(
        self,
        label: str,
        scopes: Sequence[str],
        plugins: Sequence[str] | None = None,
        expires_at: str | None = None,
        tools: Sequence[str] | None = None,
        read_only: bool = False,
    ) -> Object:
        """Makes a token; `token` of the answer is the secret, and is in no other answer.

        With `tools`, such as `["git.git_status", "fs.*"]`, or `read_only` it calls tools alone.
        """
        body: dict[str, Any] = {"label": label, "scopes": list(scopes), **given(expires_at=expires_at)}
        if plugins is not None:
            body["plugins"] = list(plugins)
        if tools is not None:
            body["tools"] = list(tools)
        if read_only:
            body["read_only"] = True
        return self._ask("POST", "/api/tokens", body)

    def list_tokens(self) -> list[Object]:
        """The tokens, without their secrets."""
        return list(self._ask("GET", "/api/tokens")["tokens"])

    def revoke_token(self, token_id: str) -> Object:
        """Ends a token."""
        return self._ask("DELETE", f"/api/tokens/{segment(token_id, 'the id of a token')}")

    def list_audit(
        self, plugin: str | None = None, actor: str | None = None, since: str | None = None, limit: int = 100
    ) -> list[Object]:
        """The newest entries of the audit log, at most `limit` and at most 1,000."""
        asked = {"plugin": plugin, "actor": actor, "since": since, "limit": limit}
        return list(self._ask("GET", "/api/audit" + query(asked))["entries"])

    def verify_audit(self) -> Object:
        """Whether the audit log is what was written; `head` can be noted down and compared later."""
        return self._ask("GET", "/api/audit/verify")
