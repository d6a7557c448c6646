"""Error replies of a Flask application: problem details (RFC 9457)."""

import logging

import msgspec
from flask import Flask, Response, g, has_request_context
from werkzeug.exceptions import HTTPException

from common.errors import Problem, ServiceError, problem_headers

log = logging.getLogger(__name__)


def handle_errors(app: Flask) -> None:
    """Answer every error of `app` with a problem."""
    app.register_error_handler(Exception, problem_response)


def problem_response(error: Exception) -> Response:
    """The reply to a request that ended in `error`."""
    if isinstance(error, HTTPException) and error.code:  # errors of Flask, such as 404 and 405
        code = error.name.lower().replace(" ", "_")
        known = ServiceError(error.description or "", code, error.code)
        response = _response(Problem.of(known), known)
        # The header Allow of a 405 names the allowed methods.
        kept = [item for item in error.get_headers() if item[0].lower() != "content-type"]
        response.headers.extend(kept)
        return response
    problem = Problem.of(error)
    if problem.status >= 500 and not isinstance(error, ServiceError):
        log.exception("unforeseen error", exc_info=error)
    return _response(problem, error)


def _response(problem: Problem, error: Exception) -> Response:
    if has_request_context():
        problem.request_id = g.get("request_id", "")
    body = msgspec.json.encode(problem)
    return Response(body, problem.status, headers=problem_headers(problem, error))
