"""Where the token goes when an API says that something is elsewhere."""

from stage import equal

SECRET_HEADERS = ("authorization", "dpop", "x-partner")
GIVEN = {"Requestor-ID": "4711"}


def fetch(stage, path, **fields):
    return stage.request(stage.partner.url(path), "GET", client="wawex", headers=GIVEN, body=None, **fields)


def redirect_within_an_origin(stage):
    """Within the origin the token goes along."""
    for status in (302, 307):
        stage.partner.moved["/old"] = (status, stage.partner.url("/commands/new"))
        equal(fetch(stage, "/old", follow=True)["status"], 200, f"status after {status}")
        _, second = stage.partner.take()
        equal([second.path, second.headers.get("x-partner")], ["/commands/new", "acme"], "the second request")


def redirect_to_another_origin(stage):
    """Another origin gets the request, but neither token nor proof nor fixed headers."""
    other = stage.another_partner()
    for status in (302, 307):
        stage.partner.moved["/old"] = (status, other.url("/open/new"))
        equal(fetch(stage, "/old", follow=True)["status"], 200, f"status after {status}")
        [call] = other.take()
        equal([name for name in SECRET_HEADERS if name in call.headers], [], f"headers at the other origin ({status})")


def redirect_there_and_back(stage):
    """A token that stayed behind is not sent by way of a further redirect."""
    other = stage.another_partner()
    third = stage.another_partner()
    stage.partner.moved["/old"] = (307, other.url("/between"))
    other.moved["/between"] = (307, third.url("/open/new"))
    equal(fetch(stage, "/old", follow=True)["status"], 200, "status")
    for call in other.take() + third.take():
        equal([name for name in SECRET_HEADERS if name in call.headers], [], f"headers at {call.path}")


def a_401_from_another_origin(stage):
    """A 401 of somebody who never got the token is no report of it."""
    token = stage.old_token("wawex")
    other = stage.another_partner()
    stage.partner.moved["/old"] = (307, other.url("/commands/new"))
    equal(fetch(stage, "/old", follow=True)["status"], 401, "status")
    for call in other.take():
        equal([name for name in SECRET_HEADERS if name in call.headers], [], "headers at the other origin")
    equal((stage.requests("wawex"), stage.token("wawex")["id"]), (1, token["id"]), "token requests, id in memory")


def redirect_not_followed(stage):
    """An app that does not follow gets the redirect."""
    stage.partner.moved["/old"] = (302, stage.partner.url("/commands/new"))
    answer = fetch(stage, "/old", follow=False)
    equal((answer["status"], answer["headers"].get("location")), (302, stage.partner.url("/commands/new")), "answer")
    equal(stage.partner.count(), 1, "requests")
