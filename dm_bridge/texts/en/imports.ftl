# What the bot says about chats that are brought over at the first login, and about older messages.

# $name: the network's name of the login, as code.
import-begins = I bring over your last chats of { $name }: up to { $chats }, with up to { $messages } messages each. You are not notified of what is old, and what is new comes first.
import-so-far = So far I have brought over { $done } of { $total ->
    [one] one chat
   *[other] { $total } chats
  } of { $name }.
import-ended = I have brought over { $chats ->
    [one] one chat
   *[other] { $chats } chats
  } of { $name }, with { $messages ->
    [one] one message
   *[other] { $messages } messages
  }.
# $why: sentences.
import-some-failed = ⚠ { $chats ->
    [one] One chat
   *[other] { $chats } chats
  } could not be read. { $why }
import-older = For older messages of somebody, write `history` and their address.
import-failed = ⚠ I could not bring over your earlier chats of { $name }: { $why } What is written from now on arrives; for older messages of somebody, write `history` and their address.
import-not-connected = The login is not connected.
import-no-record = The network has no record of earlier messages any more.
import-no-answer = The network does not answer.
import-not-wanted = Nothing is brought over any more.
import-elsewhere = The search is elsewhere.
import-our-mistake = Something went wrong in the bridge; tell its admin.
