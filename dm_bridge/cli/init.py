"""``dm-bridge init``: write a configuration with tokens of its own.

The rule that must never break: a configuration that is there is not replaced unless asked.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from dm_bridge.cli import local_synapse
from dm_bridge.cli.options import config_option
from dm_bridge.cli.private_files import check_replaceable, write_private
from dm_bridge.config import values
from dm_bridge.config.values import ListenAddress
from dm_bridge.errors import AdminError, UserError

DEFAULT_LISTEN = "127.0.0.1:29350"

_TEMPLATE = """\
# Configuration of dm_bridge. docs/configuration.md explains every key.
# Keep this file secret: it holds tokens. Any key can also be set by an environment variable,
# homeserver.url for instance by DM_BRIDGE__HOMESERVER__URL.

homeserver:
  # Where the bridge reaches the homeserver's client API.
  url: {homeserver}
  # The homeserver's server name: what its user ids end with.
  domain: {domain}

appservice:
  # Where the bridge waits for the homeserver.
  listen: {listen}
  # Where the homeserver reaches the bridge, when it is not under `listen` on the same machine.
  #url: http://bridge.internal:29350
  # The bot's user id is @dmbot:<domain>, and a contact's begins with @_dm_.
  # After a change of anything in this section, of homeserver.domain, or of which networks are
  # enabled, write the registration again: dm-bridge registration --force
  #id: dm_bridge
  #bot: dmbot
  #ghost_prefix: _dm_
  # Secrets shared with the homeserver through the registration files. Each can also be read from
  # a file: as_token_file, hs_token_file, accounts_token_file.
  as_token: {as_token}
  hs_token: {hs_token}
  accounts_token: {accounts_token}

database:
  # embedded: the bridge runs a PostgreSQL of its own, with its data in data_dir.
  # For one that you run (14 or newer): postgresql://dm_bridge:PASSWORD@localhost/dm_bridge
  url: embedded

# The bridge's files: the key that seals stored passwords, and the embedded database. Back it up.
# Relative to the folder of this file.
data_dir: data

# Who may use the bridge: none, user or admin, for everybody ("*"), for the users of a server, or
# for one user. The most specific entry counts. With a largest number of logins for each of them:
#  "example.org": {{level: user, max_logins: 3}}
permissions:
{permissions}

networks:
  xmpp:
    enabled: true
    # The XMPP servers that are not to be found through DNS, by the domain of their addresses.
    # tls: starttls, direct, or none (only for a server on this machine).
    servers: {{}}
    #servers:
    #  example.org:
    #    host: xmpp.example.org
    #    port: 5222
    #    tls: starttls
  # The IRC networks that users may log in to, by the names that you give them.
  #irc:
  #  servers:
  #    example:
  #      host: irc.example.org
  #      port: 6697

direct:
  # Accept the invitations to new chats for the user.
  auto_join: true
  # Mark chats as direct for the contacts' accounts too.
  mark_ghosts: true
  # How much is remembered of each user's list of direct chats, to tell decisions from accidents.
  journal_versions: 200
  journal_days: 90
  # How many active accounts are watched at once, where the homeserver's module is not installed, and in
  # how many hours every account is looked at once.
  watch_accounts: 200
  sweep_hours: 24
  # Client APIs of other homeservers that are not to be discovered, for users who give a token.
  homeservers: {{}}

delivery:
  # Show with a read receipt of the contact that their network has your message, unless they say what they read.
  receipts: true
  # Tell clients that show it the state of each message (com.beeper.message_send_status).
  status_events: false
  # For how many hours a message is tried while its network cannot be reached.
  expire_hours: 24

presence:
  # Show whether contacts are there, in whose chats you are. Costs a request each 20 seconds for everybody who is.
  contacts: false
  # Tell the networks whether you are there.
  users: false

# Collectors of message checkpoints and of the states of logins. They are sent the as_token.
#reports:
#  checkpoints_url: https://reports.internal/checkpoints
#  states_url: https://reports.internal/states

media:
  # The largest file that is carried, in megabytes; the homeserver may take less. 0: none.
  max_megabytes: 100
  # Hosts from which files are fetched although their addresses are private ones: your own XMPP server's, say.
  private_hosts: []

history:
  # How many of the last conversations a new login brings over, and how many of the last messages of each. 0: none.
  conversations: 50
  messages: 20

spaces:
  # Give each new login a space that its chats are in. Users decide for themselves with the bot's command `space`.
  new_logins: false

provisioning:
  # Serve the API by which Matrix clients log users in, and more: docs/provisioning.md. It is below
  # /_matrix/provision/ at the address in appservice.listen; clients elsewhere need a proxy to there.
  enabled: true
  # A random secret, at least 16 characters, with which a service may act for every user. Without it none may.
#  shared_secret: a-random-text-of-at-least-16-characters
  # Let users act for themselves, with access tokens and OpenID tokens of the homeserver.
  matrix_auth: true

limits:
  # How many logins there may be on the whole bridge. Without it, as many as users make.
#  max_logins: 500
  # How many messages of one user the bot answers in a minute.
  commands_per_minute: 30
  # How often a user may try to log in in an hour, with the bot and by the provisioning API together; and how often
  # a network may refuse a user's logins to the same account until they have to wait.
  login_attempts: 30
  login_failures: 5

audit:
  # For how many days the bridge remembers who did what (dm-bridge audit).
  keep_days: 90

page:
  # Where browsers find the bridge's own page: docs/page.md. Without it there is none. It is below /page/ at the
  # address in appservice.listen; a proxy brings it outside. It begins with https://, except on this machine.
#  public_url: https://bridge.example.org/page/
  # For how many minutes a link works that the bot gives, and for how many hours somebody is signed in.
  link_minutes: 10
  session_hours: 12

texts:
  # The language that the bot and the bridge speak: docs/texts.md.
  language: en
  # A directory with messages of your own, which come before those of the bridge: FOLDER/en/*.ftl
#  folder: texts

processes:
  # After how many seconds without a sign of life the other processes on the same database take over the users of
  # one. Every process of a bridge has the same.
  lease_seconds: 10

logging:
  # debug, info, warning or error
  level: info
  # text, or json: one object a line
  format: text
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a new configuration needs to know. ``admin``: a user id, or empty for none."""

    homeserver: str
    domain: str
    admin: str = ""
    listen: str = DEFAULT_LISTEN


@dataclass(frozen=True, slots=True)
class Tokens:
    """The three tokens of a new configuration."""

    as_token: str
    hs_token: str
    accounts_token: str

    @classmethod
    def random(cls) -> Tokens:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


def render_config(answers: Answers, tokens: Tokens) -> str:
    """The text of a new configuration."""
    permissions = {answers.domain: "user"}
    if answers.admin:
        permissions[answers.admin] = "admin"
    return _TEMPLATE.format(
        homeserver=_quote(answers.homeserver),
        domain=_quote(answers.domain),
        listen=_quote(answers.listen),
        as_token=_quote(tokens.as_token),
        hs_token=_quote(tokens.hs_token),
        accounts_token=_quote(tokens.accounts_token),
        permissions="\n".join(f"  {_quote(key)}: {value}" for key, value in permissions.items()),
    )


def _quote(text: str) -> str:
    return json.dumps(text)


Check = Callable[[str], str]


def _listen(value: str) -> str:
    return str(ListenAddress.parse(value))


def _admin(value: str) -> str:
    return values.check_user_id(value) if value else value


def _checked(check: Check) -> Check:
    def convert(value: str) -> str:
        try:
            return check(value.strip())
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    return convert


def _option_check(
    check: Check,
) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def callback(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        return None if value is None else _checked(check)(value)

    return callback


def _ask(question: str, check: Check, default: str | None) -> str:
    try:
        answer: str = click.prompt(
            question, default=default, value_proc=_checked(check), show_default=bool(default)
        )
    except click.Abort:
        click.echo(err=True)  # ends the line of the question
        raise UserError(
            "Nothing was written: there was no answer. With --homeserver URL, --domain NAME and --yes, "
            "nothing is asked."
        ) from None
    return answer


def _likely_domain(homeserver: str) -> str | None:
    """The server name that a homeserver with this URL often has."""
    host = urlsplit(homeserver).hostname or ""
    likely = host.removeprefix("matrix.")
    return likely if re.search("[a-z]", likely) and ":" not in likely else None


@click.command(
    short_help="Write a configuration.",
    epilog="Example: dm-bridge init --homeserver http://localhost:8008 --domain example.org --yes",
)
@click.option(
    "--homeserver",
    metavar="URL",
    callback=_option_check(values.check_homeserver_url),
    help="Where the bridge reaches the homeserver.",
)
@click.option(
    "--domain",
    metavar="NAME",
    callback=_option_check(values.check_server_name),
    help="The homeserver's server name: what its user ids end with.",
)
@click.option(
    "--admin",
    metavar="USER",
    callback=_option_check(_admin),
    help="The user id of an admin, if any.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    callback=_option_check(_listen),
    help=f"Where the bridge listens.  [default: {DEFAULT_LISTEN}]",
)
@config_option("The file to write.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--force", is_flag=True, help="Replace the file if it is there, with new tokens.")
def init(
    homeserver: str | None,
    domain: str | None,
    admin: str | None,
    listen: str | None,
    config_path: Path,
    yes: bool,
    force: bool,
) -> None:
    """Write a configuration with new random tokens, readable by its owner only.

    Asks for what is not given as an option. Everyone on the homeserver may use the bridge then;
    edit `permissions` in the file to change that.
    """
    missing = [
        name for name, value in (("--homeserver", homeserver), ("--domain", domain)) if not value
    ]
    if yes and missing:
        raise click.UsageError(f"With --yes, {' and '.join(missing)} must be given.")
    check_replaceable(config_path)
    if config_path.exists() and not force:
        raise _exists(config_path)
    synapse = local_synapse.find() if missing else None
    if synapse is not None:
        click.echo(f"There is a Synapse here ({synapse.path}); what it says is proposed.")
    if homeserver is None:
        url = (synapse.url if synapse is not None else "") or "http://localhost:8008"
        homeserver = _ask("Where is the homeserver (URL)?", values.check_homeserver_url, url)
    if domain is None:
        question = "What is its server name (as in @alice:NAME)?"
        known = synapse.domain if synapse is not None and homeserver == synapse.url else ""
        domain = _ask(question, values.check_server_name, known or _likely_domain(homeserver))
    if admin is None and not yes:
        admin = _ask("Who is the bridge's admin (a user id; empty for nobody)?", _admin, "")
    if listen is None and not yes:
        listen = _ask("Where shall the bridge listen (host:port)?", _listen, DEFAULT_LISTEN)
    answers = Answers(homeserver, domain, admin or "", listen or DEFAULT_LISTEN)
    replaced = config_path.exists()
    try:
        write_private(config_path, render_config(answers, Tokens.random()), replace=force)
    except FileExistsError:
        raise _exists(config_path) from None
    click.echo(f"{config_path} written.")
    if replaced:
        click.echo("Its tokens are new: write the registration again and restart the homeserver.")
    shown = shlex.quote(str(config_path))
    click.echo(
        "\nNext:\n"
        f"  1. Look through {config_path}: networks, permissions, database.\n"
        f"  2. dm-bridge registration -c {shown} -o DIRECTORY\n"
        "     and add the two files to the homeserver as it says.\n"
        f"  3. dm-bridge run -c {shown}\n"
        f"  4. dm-bridge doctor -c {shown}\n"
        "     says whether all is well, and what to do where it is not."
    )


def _exists(path: Path) -> AdminError:
    return AdminError(
        f"{path} is already there, and was left as it is. Choose another file with --config, or replace "
        "it with --force."
    )
