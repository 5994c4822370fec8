"""A client of the lease API: one request, one connection, nothing kept. It knows nothing of Ironic."""

import http.client
import json
import socket
import ssl
import urllib.parse

# Octets of an answer that are read.
ANSWER_BYTES_MAX = 1 << 20


class LeaseApiError(Exception):
    """The API refused, or could not be reached."""

    def __init__(self, message, status=None, field=None):
        super().__init__(message)
        self.status = status
        self.field = field


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class LeaseApi:
    """The lease API at ``endpoint``: ``unix:/path``, ``http://host:port`` or ``https://host:port``."""

    def __init__(self, endpoint, token=None, ca_file=None, timeout=30):
        self._endpoint = endpoint
        self._token = token
        self._ca_file = ca_file
        self._timeout = timeout

    def put_reservation(self, mac, body):
        """Puts a reservation; it is durable and in force when this returns."""
        return self._call("PUT", "/v1/reservations/" + mac, body)

    def reservation(self, mac, scope=None):
        """The reservation of a machine, or None."""
        return self._unless_missing("GET", "/v1/reservations/" + mac + _query(scope))

    def delete_reservation(self, mac, scope=None):
        """Deletes the reservation of a machine; no error where there is none."""
        self._unless_missing("DELETE", "/v1/reservations/" + mac + _query(scope))

    def lease(self, mac):
        """The lease of a machine, or None."""
        return self._unless_missing("GET", "/v1/leases/" + mac)

    def _unless_missing(self, method, path):
        try:
            return self._call(method, path)
        except LeaseApiError as error:
            if error.status == 404:
                return None
            raise

    def _connection(self):
        if self._endpoint.startswith("unix:"):
            return _UnixConnection(self._endpoint[len("unix:"):], self._timeout)
        url = urllib.parse.urlsplit(self._endpoint)
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_file)
            return http.client.HTTPSConnection(url.hostname, url.port, timeout=self._timeout, context=context)
        if url.scheme == "http":
            return http.client.HTTPConnection(url.hostname, url.port, timeout=self._timeout)
        raise LeaseApiError("%s is no endpoint: unix:/path, http://host:port or https://host:port" % self._endpoint)

    def _call(self, method, path, body=None):
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = "Bearer " + self._token
        octets = None
        if body is not None:
            octets = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, path, octets, headers)
            answer = connection.getresponse()
            text = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise LeaseApiError("%s cannot be reached: %s" % (self._endpoint, error)) from error
        finally:
            connection.close()
        try:
            value = json.loads(text) if text else None
        except ValueError:
            value = None
        if 200 <= answer.status < 300:
            return value
        problem = value if isinstance(value, dict) else {}
        words = problem.get("detail") or "%d %s" % (answer.status, answer.reason)
        raise LeaseApiError(words, answer.status, problem.get("field"))


def _query(scope):
    return "?" + urllib.parse.urlencode({"scope": scope}) if scope else ""
