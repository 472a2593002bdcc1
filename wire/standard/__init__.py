"""Services and conventions that gRPC defines for every server: health, reflection, channelz, rich errors.

    server = wire.Server([MyService(), Health(), *reflection()])

`dynamic` calls services by descriptors alone, which a server tells by reflection (`reflection_client`); it needs the
extra `client`. The messages are in `generated/`, made from `protos/` by `python -m wire.generate` (`make proto`).
Nothing of wire imports this package.
"""

from wire.standard.channelz import Channelz
from wire.standard.health import Health
from wire.standard.reflection import reflection
from wire.standard.rich_errors import error_details, rich_error

__all__ = ["Channelz", "Health", "error_details", "reflection", "rich_error"]
