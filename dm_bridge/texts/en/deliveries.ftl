# What becomes of the user's own messages, said in reply to them.

# $why: sentences.
delivery-waits = Your message is not delivered yet. { $why } The bridge keeps trying.
delivery-failed = ⚠ Your message was not delivered. { $why }
delivery-uncertain = ⚠ Your message may not have been delivered. { $why }
delivery-again = { $why } To try again, send the bridge's bot `retry`.
delivery-no-more = { $why } The bridge has stopped trying.
delivery-done = Your message was delivered meanwhile.
delivery-given-up = ⚠ Your message was not delivered. The bridge has stopped trying; send it again if it still matters.
delivery-our-mistake = Something went wrong in the bridge. To try again, send the bridge's bot `retry`. Tell the bridge's admin if it happens again.
# Why a notice was taken back.
delivery-other-notice = Another notice has taken its place.
delivery-withdrawn = The message has been taken back.
delivery-earlier-failed = ⚠ A message of yours was not delivered. { $why }

## Why

delivery-not-connected = Your login is not connected. Send the bridge's bot `logins` to see why, and `retry` when it is connected again.
# $login: the network's name of the login.
delivery-connecting = { $login } is being connected.
# $why: a sentence, or nothing.
delivery-not-connected-now = { $login } is not connected at the moment. { $why }
# $network: as it is written in commands.
delivery-logged-out = You are logged out of { $login }. Send the bridge's bot `login { $network }`, then `retry`.
delivery-login-refused = The server of { $login } does not accept your login any more. Send the bridge's bot `login { $network }`, then `retry`.
# $title: of the network.
delivery-no-edits = { $title } cannot change messages: your contact still sees the old text. Send a new message.
delivery-no-retractions = { $title } cannot take messages back: your contact can still read it.
delivery-no-reactions = { $title } has no reactions: your contact does not see this one.
delivery-no-files = { $title } takes no files from here. Send a link to it instead.
delivery-encrypted = This room is encrypted, and the bridge cannot read encrypted messages yet. Write to the contact in a room without encryption: send the bot `start` and their address.
delivery-nameless-emoji = This emoji is a picture without a name, which your contact cannot see. React with another one.
delivery-no-keys = Contacts on other networks have no keys in Matrix, so they cannot be verified.
delivery-no-address = The file has no address that the bridge can read. Send it again, with another client.
delivery-no-text = It has no text.
delivery-no-text-left = The changed message has no text.
delivery-no-calls = The bridge carries no calls. Write to your contact, or agree on another way to call.
delivery-no-votes = Your contact sees a poll as text, and not how anybody votes. Write your answer as a message.
delivery-no-live-places = The bridge carries no live locations. Send the place where you are as an ordinary location.

delivery-no-galleries = The bridge carries no message with several files. Send them one by one.

# Why something waits.
delivery-our-error = an error of our own

## What a contact reads

# In place of what the user's client writes when they end a poll, if that only has an id.
delivery-poll-over = 📊 The poll has ended.

## What was not delivered, in a list

delivery-of-edit = (edited) { $text }
delivery-of-reaction = (reaction) { $emoji }
delivery-of-retraction = (deleted a message)

## What has to come first

delivery-homeserver-silent = The homeserver has not answered yet whether it took a message of the user's.
delivery-contact-moves = The move of the contact to another address comes first.
delivery-chat-changed = The chat has just changed.
delivery-earlier-move = The earlier move of a contact comes first.
