# `page`: a link to the bridge's own page.

page-link = [Open your page]({ $link })

    The link works once, in the next { $minutes ->
        [one] minute
       *[other] { $minutes } minutes
    }, and is for you alone: whoever opens it acts as you. `page close` signs you out everywhere.
# $places: how many times the user was signed in.
page-closed = { $places ->
    [0] You were signed in nowhere.
    [one] You are signed out.
   *[other] You are signed out in { $places } places.
} Links that you have not used do not work any more.
page-usage = Write `page` for a link, or `page close` to sign out everywhere.
page-opened = Somebody has opened the page with your link. If that was not you, write `page close` now, and then `logins` to see whether anything was changed.
