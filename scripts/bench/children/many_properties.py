"""A GDBus service with 200 properties and a set of 500 items, for scripts/bench/state.ts."""
import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib

PROPERTIES = "".join(f'<property name="P{i}" type="s" access="read"/>' for i in range(200))
XML = f"""<node><interface name="org.bench.Many">{PROPERTIES}
<method name="GetItems"><arg type="as" direction="out"/></method>
<method name="AddItem"><arg name="item" type="s" direction="in"/></method>
<method name="RemoveItem"><arg name="item" type="s" direction="in"/></method>
</interface></node>"""
items = [f"item{i}" for i in range(250)]


def call(connection, sender, path, interface, method, args, invocation):
    if method == "GetItems":
        return invocation.return_value(GLib.Variant("(as)", (items,)))
    (items.append if method == "AddItem" else items.remove)(args[0])
    invocation.return_value(None)


def get(connection, sender, path, interface, name):
    return GLib.Variant("s", "value of " + name)


def acquired(connection, name):
    info = Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0]
    connection.register_object("/org/bench/Many", info, call, get, None)


Gio.bus_own_name(Gio.BusType.SESSION, "org.bench.Many", 0, acquired, None, None)
GLib.MainLoop().run()
