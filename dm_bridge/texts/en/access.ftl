# What the bot says about the tokens that people give for their own Matrix accounts.

## A token that is given

access-no-token = That is no access token: one is a long word without spaces.
access-other-account = This token belongs to another account than the one you are writing with, so I do not take it.
access-unknown-token = Your homeserver does not know this token. Perhaps it is not whole, or its session was signed out.
access-no-settings = Your homeserver does not let this token read your settings.
access-no-answer = Your homeserver does not answer as it should right now. Try again later.

## A token that does not work any more

access-lost = ⚠ The token that you gave me for your Matrix account does not work any more, so I have forgotten it.
access-way-back = Until you give me another one with `login-matrix`, I cannot keep your direct chats in order; what there is to do waits until then.
access-not-needed = I can act for your account without it, so there is nothing for you to do.
# In the audit log.
access-token-removed = It does not work any more.
