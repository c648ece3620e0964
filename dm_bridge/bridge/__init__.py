"""The domain: carries one side's events to the other, and keeps private chats direct."""
