"""The table of scenarios that every client library is judged by."""

import dataclasses
import inspect
import typing

from library import access, bound, closing, headers, memory, outage, redirects, rejection


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A row of a matrix. `only`: the columns it is for, all of the table's without it."""

    function: typing.Callable
    only: tuple = ()

    @property
    def name(self):
        return self.function.__name__.replace("_", " ")

    @property
    def shows(self):
        return inspect.getdoc(self.function)

    def fits(self, column):
        return not self.only or column.name in self.only


LIBRARY = [
    Scenario(function)
    for function in (
        memory.opened_before_the_daemon_is_there,
        memory.socket_found_by_variable,
        memory.users_socket_found,
        memory.first_token_is_waited_for,
        memory.timeout_while_pending,
        memory.rotation_is_seen_in_memory,
        memory.reads_cost_no_call,
        memory.thousand_readers,
        memory.two_clients_share_a_connection,
        memory.validity_unattainable,
        memory.more_validity_than_is_left,
        memory.text_forms_show_no_token,
        memory.proxy_variables_do_not_matter,
        rejection.replayed_after_a_401,
        rejection.a_401_for_ever,
        rejection.a_401_to_a_young_token,
        rejection.a_burst_of_401s,
        rejection.no_report_of_400_or_403,
        rejection.body_that_cannot_be_sent_again,
        rejection.a_401_while_the_issuer_is_down,
        rejection.what_reports_come_to,
        rejection.next_rotation_after_a_401,
        outage.issuer_down,
        outage.issuer_refuses,
        outage.issuer_down_while_a_token_is_good,
        outage.daemon_restarts,
        outage.daemon_is_killed,
        outage.daemon_gone_and_token_expired,
        outage.no_daemon,
        outage.daemon_that_does_not_answer,
        outage.no_storm_without_a_daemon,
        access.not_allowed,
        access.taken_away_by_reload,
        access.given_by_reload,
        access.unknown_client,
        access.removed_and_configured_again,
        headers.all_headers_of_a_call,
        headers.headers_missing_or_wrong,
        headers.pattern_with_alternatives,
        headers.any_value_that_is_one,
        headers.requests_without_what_they_need,
        headers.headers_of_a_request,
        headers.plain_http_is_refused,
        headers.plain_http_when_the_app_wants_it,
        redirects.redirect_within_an_origin,
        redirects.redirect_to_another_origin,
        redirects.redirect_there_and_back,
        redirects.a_401_from_another_origin,
        redirects.redirect_not_followed,
        bound.each_request_has_its_proof,
        bound.nonce_is_honoured,
        bound.nonce_and_a_body_that_cannot_be_sent_again,
        bound.nonce_that_is_never_right,
        bound.bound_token_after_a_401,
        bound.redirect_of_a_bound_token,
        bound.headers_need_a_proof,
        closing.closed,
        closing.closed_before_it_was_used,
        closing.program_ends_after_close,
        closing.program_ends_without_close,
        closing.program_ends_while_it_reconnects,
        closing.debug_log_has_no_token,
    )
]
# What may be `n/a`, and nothing else: an HTTP client that knows no such body.
MAY_BE_MISSING = {
    rejection.body_that_cannot_be_sent_again,
    bound.nonce_and_a_body_that_cannot_be_sent_again,
}
