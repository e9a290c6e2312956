"""``sonotheque keys``: who may use a service that others can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from search_api.keys import KeyRing

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_STATE = typer.Option(None, "--state", metavar="DIR", help="The service's own folder [default: service in the store].")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_EPILOG = """Examples:

sonotheque keys create anna --scope read --scope annotate --store archive

sonotheque keys list --store archive

sonotheque keys revoke anna --store archive

Scopes: read (search, listen, look), annotate (judge, train), embed (new recordings, index), admin (all of these, and promote,
cancel, logs), sql (only if given by name)."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=_EPILOG,
        help="Keys of the service: who may do what. A running service sees changes at once.",
    )
    group.command(
        "create", epilog="Example: sonotheque keys create anna --scope read --scope annotate --store archive"
    )(create)
    group.command("list", epilog="Example: sonotheque keys list --store archive")(list_)
    group.command("revoke", epilog="Example: sonotheque keys revoke anna --store archive")(revoke)
    app.add_typer(group, name="keys")


def create(
    name: str = typer.Argument(..., help="Of the person or program; judgements made with the key carry it."),
    scope: list[str] = typer.Option(
        ["read"], "--scope", metavar="SCOPE", help="read, annotate, embed, admin or sql; repeatable."
    ),
    store: str = _STORE,
    state: str = _STATE,
    as_json: bool = _JSON,
) -> int:
    """Make a key and show it, once: only its digest is kept."""
    from sonotheque.cli.output import document, say, tell

    key, secret = _ring(store, state).create(name, scope)
    if as_json:
        document({**key.to_json(), "key": secret})
        return 0
    tell(f"key {key.key_id} of {key.name}: {', '.join(key.scopes)}. It is not kept, and cannot be shown again:")
    say(secret)
    return 0


def list_(store: str = _STORE, state: str = _STATE, as_json: bool = _JSON) -> int:
    """List the keys, revoked ones too; never their secrets."""
    from sonotheque.cli.output import document, say, table

    keys = _ring(store, state).list()
    if as_json:
        document({"keys": [key.to_json() for key in keys]})
    elif not keys:
        say("no key was made yet: on this machine the service is open, elsewhere it does not start")
    else:
        rows = [[k.name, k.key_id, ", ".join(k.scopes), k.created, k.revoked or "-"] for k in keys]
        say(table(["name", "id", "scopes", "created", "revoked"], rows))
    return 0


def revoke(
    name: str = typer.Argument(..., help="The key's name or id."),
    store: str = _STORE,
    state: str = _STATE,
    as_json: bool = _JSON,
) -> int:
    """Make a key count no more, from now on; sessions of the page that were begun with it end too."""
    from sonotheque.cli.output import document, say

    key = _ring(store, state).revoke(name)
    if as_json:
        document(key.to_json())
    else:
        say(f"key {key.key_id} of {key.name} does not count any more")
    return 0


def _ring(store: str, state: str | None) -> KeyRing:
    from search_api.http.settings import ServiceSettings
    from search_api.keys import KeyRing
    from store import read_config

    read_config(store)  # a folder that is no store gets no keys
    return KeyRing(f"{ServiceSettings(store, state=state).state_folder}/keys.json")
