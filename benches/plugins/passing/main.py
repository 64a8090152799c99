"""A member of every kind that looks at what it gets, and gives it back."""


class Passing:
    """What it costs to ask it is what a member costs."""

    async def process_message(self, message, context):
        """The message as it is."""
        return message

    async def process_stream(self, stream, context):
        """Each part as it is."""
        async for delta in stream:
            yield delta["text"]

    async def process_request(self, request):
        """The request as it is."""
        return request

    async def process_response(self, response):
        """The response as it is."""
        return response

    async def extend(self, context):
        """Nothing more."""
        return {}
