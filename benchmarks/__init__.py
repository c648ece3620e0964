"""What the bridge costs, measured: ``python -m benchmarks`` (or ``make bench``).

Every figure is a comparison within one run, on the same homeserver and machine: the bridge against a
bare client that does only what cannot be avoided. `world` starts the servers, `bare` is that bare
client (in a process of its own), `tally` checks what arrived, and `to_matrix`, `to_remote` and
`new_chats` measure.

The rule that must never break: both sides are measured by the same independent client in the same
way, and a message lost, doubled or out of order fails the run, whatever the figures say.
"""
