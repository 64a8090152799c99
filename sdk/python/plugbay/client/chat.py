"""The chat: conversations and their messages."""

from __future__ import annotations

import base64

from plugbay.client.asking import Asking, Object, given, segment

#: Every hook has its own time, ten minutes at most.
_HOOKS_SECONDS = 610.0


class Chat(Asking):
    """Conversations of the host application, and what plugins say in them."""

    def begin_conversation(self, title: str | None = None) -> Object:
        """Begins a conversation; `id` of the answer names it."""
        return self._ask("POST", "/api/chat/conversations", given(title=title))

    def list_conversations(self) -> list[Object]:
        """Every conversation that is kept."""
        return list(self._pages("/api/chat/conversations", "conversations", {}))

    def post_message(
        self, conversation: str, text: str, user: str | None = None, channel: str | None = None
    ) -> Object:
        """Posts a text, or a command such as `/help me`: `message`, `answers` of plugins and `errors`."""
        body = {"text": text, **given(user=user, channel=channel)}
        return self._ask("POST", _messages(conversation), body, _HOOKS_SECONDS)

    def post_file(
        self, conversation: str, name: str, content: bytes, media_type: str, user: str | None = None
    ) -> Object:
        """Tells plugins of a file; its content is hashed and not kept."""
        encoded = base64.b64encode(content).decode()
        file = {"name": name, "media_type": media_type, "content_base64": encoded}
        return self._ask("POST", _messages(conversation), {"file": file, **given(user=user)}, _HOOKS_SECONDS)

    def list_messages(self, conversation: str) -> list[Object]:
        """Every message that is kept, oldest first."""
        return list(self._pages(_messages(conversation), "messages", {}))


def _messages(conversation: str) -> str:
    return f"/api/chat/conversations/{segment(conversation, 'the id of a conversation')}/messages"
