"""TLS clients of the testbed: the company's and everybody's certificates are self-made, so nobody verifies them."""

import ssl


def unverified() -> ssl.SSLContext:
    """A client's context; callers narrow its versions and ciphers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
