# Why a file is not carried: said after "(The bridge could not carry this file." or in reply to the user's own.

# $why: a sentence.
file-is-a-link = (The bridge could not carry this file. { $why })

## Files of contacts

file-not-taken = The homeserver does not take it.
file-none-carried = No files are carried here.
file-others-first = Other files come first.
file-not-in-time = It did not arrive in time.
# $size, $largest: such as 12.3 MB.
file-too-large = It is { $size } large, and at most { $largest } are carried here.
# $host: the server that has it.
file-gone = { $host } does not have it any more.
file-not-given = { $host } does not give it to the bridge.
# $status: a number of HTTP.
file-not-given-now = { $host } cannot give it at the moment ({ $status }).
file-not-given-status = { $host } does not give it ({ $status }).
file-other-form = Its server sends it in a form that was not asked for.
file-of-no-size = Its server does not say how large it is.
file-too-slow = { $host } sends it too slowly.
file-wrong-key = Its key makes no sense.
file-other-size = It is not as large as its server says.
file-damaged = It is not what its sender sent: it was damaged, or somebody changed it.
file-is-a-page = It is a page, and no file.
file-is-something-else = It is said to be { $kind ->
    [picture] a picture
    [film] a film
   *[audio] an audio file
  }, and is something else.

## Files of the user

file-homeserver-slow = The homeserver did not give out the file in time.
file-send-a-link = This bridge carries no files. Send a link instead.
file-send-smaller = The file is { $size } large, and at most { $largest } are carried here. Send a smaller one, or a link.
file-homeserver-lost = The homeserver does not have the file any more. Send it again.
# $why: a sentence.
file-unreadable = The file cannot be read. { $why }
# $title: of the network.
file-too-large-for-network = The file is { $size } large, and { $title } takes at most { $largest } from you. Send a smaller one, or a link.
picture-not-connected = The login is not connected any more.
picture-not-in-time = A picture did not come in time.
