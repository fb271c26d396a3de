"""Every bound of the module, named, with its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold for one `PersonalAuthProvider`; the defaults suit one owner."""

    # What a request may carry.
    body_bytes: int = 16 * 1024
    body_seconds: float = 10.0
    request_line_bytes: int = 8 * 1024
    redirect_uris: int = 10
    redirect_uri_chars: int = 1024
    state_chars: int = 4096
    client_name_chars: int = 100
    passkey_name_chars: int = 60

    # How long things live, in seconds.
    code_seconds: int = 60
    code_memory_seconds: int = 60 * 60  # a replay is recognised for an hour
    ticket_seconds: int = 10 * 60
    session_seconds: int = 12 * 60 * 60
    fresh_seconds: int = 10 * 60  # how long a sign-in allows what matters most
    device_seconds: int = 365 * 24 * 60 * 60
    retry_window_seconds: int = 120  # a repeated refresh gets the same answer
    replay_grace_seconds: int = 10  # a code presented twice at once is no attack
    replay_memory_seconds: int = 90 * 24 * 60 * 60
    seen_every_seconds: float = 60.0  # how often a connection's last use is written at most
    seen_seconds: int = 400 * 24 * 60 * 60
    beside_seconds: int = 24 * 60 * 60  # how long what is said of a script's token outlives it
    client_seconds: int = 24 * 60 * 60  # a stored registration that nobody approved

    # Registrations: sealed into their client_id up to this length, else kept in a bounded table.
    sealed_client_id: int = 255  # characters; 0 turns sealing off
    sealed_client_id_in_a_flood: int = 2000  # when the table's oldest is a page's life old
    stored_clients: int = 500

    # Metadata documents of clients.
    document_bytes: int = 5 * 1024  # 0 turns them off: clients register themselves instead
    document_fetch_seconds: float = 5.0
    document_port: int = 443
    document_addresses: int = 2  # of one host, to be tried in turn
    document_seconds: int = 5 * 60  # kept, when its headers do not say how long; keys at most
    document_most_seconds: int = 24 * 60 * 60
    documents_kept: int = 100
    documents_at_once: int = 16  # being fetched
    documents_a_minute: int = 60  # fetched
    documents_a_minute_for_one: int = 10  # asked for by one address

    # Passwords.
    new_password_chars: int = 12  # at least, of one that is chosen on the owner's page
    free_attempts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 5 * 60.0  # of one address or device
    longest_wait_for_all_seconds: float = 15.0  # at most 5,760 guesses a day from everywhere
    attempt_fades_seconds: float = 10 * 60.0  # one wrong attempt is forgotten
    attempts_remembered: int = 10_000  # addresses and devices
    waiting_hashes: int = 8

    passkeys: int = 20

    # The store.
    store_call_seconds: float = 5.0
    start_wait_seconds: float = 2.0  # of a request, while the state cannot be opened yet
    readiness_seconds: float = 1.0  # whoever asks again before that is told the same
    readiness_wait_seconds: float = 2.0
    write_later_seconds: float = 1.0  # how long a change that nobody waits for may stay in memory
