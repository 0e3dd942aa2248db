"""A server of this machine for tests of downloads: real sockets, and what goes wrong with them."""

import http.server
import socket
import threading
import time
from contextlib import contextmanager


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives files, or the rest of one to whoever names its version; dies on the way if told."""

    def do_GET(self):
        site = self.server
        site.asked.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.end_headers()
            return
        content = site.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and site.honours and self.headers.get("If-Range") in site.marks.values():
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            first, total = start + site.off_by, len(content)
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        if site.says_length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in site.marks.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if site.dies else body)
        if site.dies == "reset":  # no orderly end, after what was sent has been read
            time.sleep(0.1)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()

    def log_message(self, *_):
        pass


@contextmanager
def serve(contents, tls=None):
    """Serve contents by path while the block lasts; yields the server, to be told what to do.

    With an `ssl.SSLContext` it speaks https.
    """
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        site.contents, site.marks, site.redirects = contents, {"ETag": '"one"'}, {}
        site.honours, site.says_length, site.dies, site.off_by = True, True, False, 0
        site.asked = []
        site.address = f"{'https' if tls else 'http'}://127.0.0.1:{site.server_port}"
        site.handle_error = lambda *_: None
        if tls:
            site.socket = tls.wrap_socket(site.socket, server_side=True)
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()
