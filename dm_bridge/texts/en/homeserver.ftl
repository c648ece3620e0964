# What homeservers do not do, and what is wrong with their answers.

## The bridge's homeserver

# $url: its address. $why: a few words, of the system or one of those below.
homeserver-unreachable = The homeserver at { $url } cannot be reached ({ $why }). Check that it runs and that homeserver.url is right.
homeserver-silent = The homeserver at { $url } did not answer ({ $why }).
# $status: a number of HTTP. $errcode: Matrix's name of the error, or nothing. $said: what the homeserver says. $path: what was asked for.
homeserver-answered = The homeserver answered { $status } { $errcode } ({ $said }) to /{ $path }.
homeserver-said-nothing = no Matrix error; is there a proxy in between?
homeserver-limits = The homeserver has asked for patience.
homeserver-no-event = { $url } answered with no event id.
homeserver-no-upload = The homeserver did not take a file in time.
homeserver-no-address = The homeserver took a file, and does not say where it is.
homeserver-no-size = The homeserver does not say how large the file is; the bridge cannot pass it on.
homeserver-no-next-batch = The homeserver's answer to /sync lacks next_batch. Is there a proxy in between?
# $account: a user id.
homeserver-no-access = The bridge has no access to the account { $account }.
homeserver-not-watched = The bridge may not watch the account { $account }.

## The homeserver of a user, when it is looked for

discovery-no-name = Your user id names no server that I could look for.
# $why: one of the sentences below.
discovery-unusable = { $why } I look for homeservers as Matrix clients do, at /.well-known/matrix/client.
discovery-answered = Asked where its homeserver is, your server answered { $status }.
discovery-something-else = Where your homeserver should be, something else answers.
discovery-elsewhere = Asked where its homeserver is, your server only points elsewhere.
discovery-nonsense = Asked where its homeserver is, your server's answer makes no sense.
discovery-no-address = Your server names its homeserver by something that is no address.
discovery-no-https = Your server names its homeserver by something that is no https address.
discovery-private = Your homeserver's address is inside a private network, where I send nothing unless the admin of this bridge allows it (direct.homeservers).
# $host: a server. $why: a few words, of the system or one of those below.
discovery-unreachable = { $host } cannot be reached ({ $why }). Try again later.
discovery-too-long = the answer is too long
discovery-no-answer = no answer in time
discovery-certificate = its certificate is not accepted
discovery-no-connection = no connection
