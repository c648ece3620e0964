# What is said to those who are not, or no longer, signed in on the page.

page-no-token = The body must be a JSON object with a token.
page-too-many-attempts = Too many attempts; wait a little.
page-not-signed-in = You are not signed in, or no longer.
page-somebody-else = Somebody else has signed in in this browser. Reload the page to go on as they.
page-only-itself = Only the bridge's own page may ask for this.
# $url: its address.
page-other-address = Please open this page at its own address: { $url }
page-not-open = This bridge is not open to you; ask its admin.
# $bot: its user id.
page-link-used = This link does not work any more: it works once, and for a few minutes. Write `page` to { $bot } for a new one.
