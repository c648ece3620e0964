# What the networks have in common.

## A part of a message that is not to be seen at once, where the network cannot hide it

connector-spoiler = (spoiler) ||{ $text }||
connector-spoiler-why = (spoiler: { $why }) ||{ $text }||
