"""Keyed pseudonyms for identifiers of people and devices.

A bare hash of an identifier can be found by trying all identifiers; with a secret key it cannot. One identifier has one
pseudonym within a domain, and pseudonyms of two domains cannot be linked.

Source: RFC 2104 (HMAC) with SHA-256; ENISA, Pseudonymisation techniques and best practices (2019), section 5.1.4.
"""

import base64
import hashlib
import hmac

LEAST_KEY_BYTES = 32
_PREFIX = "p-"
_BYTES = 15


def pseudonym(key: bytes, domain: str, identifier: str) -> str:
    """Return the pseudonym of an identifier: ``p-`` and 24 letters and digits (120 bits).

    Args:
        key: At least ``LEAST_KEY_BYTES`` of secret.
        domain: Within which it is the same.
        identifier: Of a person or a device.
    """
    text = f"{len(domain)}:{domain}:{identifier}".encode(errors="surrogatepass")
    digest = hmac.digest(key, text, hashlib.sha256)
    return _PREFIX + base64.b32encode(digest[:_BYTES]).decode().lower()
