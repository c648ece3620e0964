# `login-matrix` and `logout-matrix`: a token for the user's own Matrix account.

matrix-ask =
    Please send me an access token of { $user }. With it I keep your direct chats in order, accept the invites to your bridged chats, and show what you write with other apps as yours. It opens your whole account, so give it only to a bridge whose admin you trust.

    Best is a token of its own: log in once more with your password, in a private browser window; copy the token there (in Element: *All settings*, *Help & About*, *Access Token*), and close the window without signing out. The token of the app that you use works too, but ends when you sign out of that app.

    I will remove your message at once. (`cancel` stops.)
matrix-not-needed = I can already act for your account, so I need no token; you may give me one all the same.
matrix-too-long = That took too long, so I have stopped. Write `login-matrix` to begin again.
matrix-looking = Looking at it…
matrix-try-again = To try again, write `login-matrix`.
matrix-taken = The token works, and I keep it encrypted. Do not sign its session out, or I lose access. `logout-matrix` makes me forget it.
matrix-short-lived = It looks like one of those that end after a few minutes; when it does, I tell you. One from a new login with your password lasts.
matrix-no-token = You have given me no token.
matrix-forgotten = I have forgotten your token. I have not signed its session out, because that may be the app that you use: if it was made for me, sign it out in the list of your sessions.
matrix-still-access = I can still act for your account without it.
matrix-no-access = Your direct chats stay as they are, and I no longer look after them.
