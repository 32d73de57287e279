"""Unit symbols that a metric may carry, and the way from one to another.

Source: the SenML units registry (RFC 8428, section 12.1, and the secondary units of RFC 8798, section 3), with
additions that sensors need and the registry lacks: ``1``, a plain number; ``kg/kg``, a mass ratio; ``degF``.
"""

from collections.abc import Mapping
from types import MappingProxyType

_PRIMARY = """
m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s W/m2 cd/m2
bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m B VA VAs var vars J/m kg/m3 deg NTU
1 kg/kg
"""

# symbol: (the unit it is made of, scale, offset); value in that unit = value * scale + offset
_SECONDARY = {
    "ms": ("s", 1e-3, 0.0),
    "min": ("s", 60.0, 0.0),
    "h": ("s", 3600.0, 0.0),
    "MHz": ("Hz", 1e6, 0.0),
    "kW": ("W", 1e3, 0.0),
    "kVA": ("VA", 1e3, 0.0),
    "kvar": ("var", 1e3, 0.0),
    "Ah": ("C", 3600.0, 0.0),
    "Wh": ("J", 3600.0, 0.0),
    "kWh": ("J", 3.6e6, 0.0),
    "varh": ("vars", 3600.0, 0.0),
    "kvarh": ("vars", 3.6e6, 0.0),
    "kVAh": ("VAs", 3.6e6, 0.0),
    "Wh/km": ("J/m", 3.6, 0.0),
    "KiB": ("B", 1024.0, 0.0),
    "GB": ("B", 1e9, 0.0),
    "Mbit/s": ("bit/s", 1e6, 0.0),
    "B/s": ("bit/s", 8.0, 0.0),
    "MB/s": ("bit/s", 8e6, 0.0),
    "mV": ("V", 1e-3, 0.0),
    "mA": ("A", 1e-3, 0.0),
    "dBm": ("dBW", 1.0, -30.0),
    "ug/m3": ("kg/m3", 1e-9, 0.0),
    "mm/h": ("m/s", 1 / 3_600_000, 0.0),
    "m/h": ("m/s", 1 / 3600, 0.0),
    "ppm": ("/", 1e-6, 0.0),
    "/100": ("/", 1e-2, 0.0),
    "/1000": ("/", 1e-3, 0.0),
    "hPa": ("Pa", 100.0, 0.0),
    "mm": ("m", 1e-3, 0.0),
    "cm": ("m", 1e-2, 0.0),
    "km": ("m", 1e3, 0.0),
    "km/h": ("m/s", 1 / 3.6, 0.0),
    "ppb": ("/", 1e-9, 0.0),
    "ppt": ("/", 1e-12, 0.0),
    "VA/h": ("VA/s", 1 / 3600, 0.0),
    "mg/l": ("kg/m3", 1e-3, 0.0),
    "ug/l": ("kg/m3", 1e-6, 0.0),
    "g/l": ("kg/m3", 1.0, 0.0),
    # primary ones that are multiples of each other all the same
    "%": ("/", 1e-2, 0.0),
    "g": ("kg", 1e-3, 0.0),
    "l": ("m3", 1e-3, 0.0),
    "l/s": ("m3/s", 1e-3, 0.0),
    "Cel": ("K", 1.0, 273.15),
    "degF": ("K", 5 / 9, 459.67 * 5 / 9),
    "deg": ("rad", 0.017453292519943295, 0.0),
    "1/min": ("1/s", 1 / 60, 0.0),
    "beat/min": ("1/s", 1 / 60, 0.0),
    "1": ("/", 1.0, 0.0),
    "kg/kg": ("/", 1.0, 0.0),
}

_BASE: Mapping[str, tuple[str, float, float]] = MappingProxyType(_SECONDARY)
UNITS = frozenset(_PRIMARY.split()) | frozenset(_BASE)


def conversion(given: str, wanted: str) -> tuple[float, float] | None:
    """Return (scale, offset) such that value in ``wanted`` = value in ``given`` * scale + offset.

    Returns:
        None where the two measure different things, or one is not a unit.
    """
    if given == wanted:
        return 1.0, 0.0
    if given not in UNITS or wanted not in UNITS:
        return None
    base, scale, offset = _BASE.get(given, (given, 1.0, 0.0))
    other_base, other_scale, other_offset = _BASE.get(wanted, (wanted, 1.0, 0.0))
    if base != other_base:
        return None
    return scale / other_scale, (offset - other_offset) / other_scale
