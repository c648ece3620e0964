# What is wrong between the homeserver and the bridge: on the page for admins, and in /health/ready.

health-not-reached = The homeserver has not been reached yet.
# $url: the homeserver's address.
health-unreachable = The homeserver at { $url } cannot be reached.
health-no-database = The database does not answer.
health-stopping = The bridge is stopping.
# $why: a sentence, or the words below.
health-not-taken-in = What the homeserver pushed was not taken in: { $why }
health-our-error = an error of our own; the log has the details.

## Registrations

registration-unknown = The homeserver does not know our appservice.as_token. Run `dm-bridge registration`, list both files it writes in the homeserver's app_service_config_files, and restart it.
# $error: a sentence.
registration-no-homeserver = There is no Matrix homeserver at { $url } ({ $error }). Check homeserver.url.
# $name, $domain: server names.
registration-other-domain = The homeserver's name is { $name }, but homeserver.domain says { $domain }. Correct homeserver.domain, run `dm-bridge registration` again, and restart the homeserver.
# $user, $bot: user ids.
registration-other-bot = The homeserver has registered us as { $user }, but appservice.bot says { $bot }. Run `dm-bridge registration` again and restart the homeserver.
registration-no-accounts = The homeserver does not know appservice.accounts_token: registration-accounts.yaml is not in its app_service_config_files, or is out of date. Until it is there, chats are not joined for users, and their m.direct is not kept.
# $id: the value of appservice.id.
registration-other-id = The homeserver knows our as_token under another id than appservice.id ({ $id }). Run `dm-bridge registration` again and restart the homeserver.
registration-no-url = The homeserver has no url for us. Set appservice.url, run `dm-bridge registration` again and restart the homeserver.
# $url: the value of appservice.url.
registration-refused-there = The homeserver reaches something at { $url }, but is refused there. Either that is not this bridge (check appservice.url), or its hs_token differs from ours (run `dm-bridge registration` again and restart the homeserver).
registration-not-reached = The homeserver cannot reach us at { $url }. Check appservice.url and appservice.listen, and that nothing blocks the way; after a change, run `dm-bridge registration` again.
registration-other-program = The homeserver reaches another program than this one at { $url }. Check appservice.url and appservice.listen, and that no second bridge runs with this configuration; after a change, run `dm-bridge registration` again.
