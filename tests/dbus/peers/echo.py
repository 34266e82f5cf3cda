"""A GDBus service for tests: echoes, fails, hangs, signals. Written against Gio, not dbus-next."""
import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib
import os

XML = """<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node><interface name="org.test.Echo">
<method name="Echo"><arg name="value" type="v" direction="in"/><arg name="value" type="v" direction="out"/></method>
<method name="Print"><arg name="value" type="v" direction="in"/><arg name="text" type="s" direction="out"/></method>
<method name="Parse"><arg name="type" type="s" direction="in"/><arg name="text" type="s" direction="in"/><arg name="value" type="v" direction="out"/></method>
<method name="Fail"><arg name="name" type="s" direction="in"/><arg name="text" type="s" direction="in"/></method>
<method name="Hang"/><method name="Die"/>
<method name="Shout"><arg name="text" type="s" direction="in"/></method>
<signal name="Shouted"><arg name="text" type="s"/></signal>
<property name="Count" type="t" access="readwrite"/>
<property name="Broken" type="s" access="read"/>
</interface></node>"""
PATH = "/org/test/Echo"
held = []
state = {"Count": GLib.Variant("t", 18446744073709551615)}


def call(connection, sender, path, interface, method, args, invocation):
    if method == "Echo":
        invocation.return_value(GLib.Variant.new_tuple(GLib.Variant.new_variant(args[0] if isinstance(args[0], GLib.Variant) else args.get_child_value(0).get_variant())))
    elif method == "Print":
        invocation.return_value(GLib.Variant("(s)", (args.get_child_value(0).get_variant().print_(True),)))
    elif method == "Parse":
        value = GLib.Variant.parse(GLib.VariantType.new(args[0]), args[1], None, None)
        invocation.return_value(GLib.Variant.new_tuple(GLib.Variant.new_variant(value)))
    elif method == "Fail":
        invocation.return_dbus_error(args[0], args[1])
    elif method == "Hang":
        held.append(invocation)
    elif method == "Die":
        os._exit(1)
    elif method == "Shout":
        connection.emit_signal(None, PATH, "org.test.Echo", "Shouted", GLib.Variant("(s)", (args[0],)))
        invocation.return_value(None)


def get(connection, sender, path, interface, name):
    return state.get(name)


def set_(connection, sender, path, interface, name, value):
    state[name] = value
    return True


def acquired(connection, name):
    info = Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0]
    connection.register_object(PATH, info, call, get, set_)


Gio.bus_own_name(Gio.BusType.SESSION, "org.test.Echo", 0, acquired, None, None)
GLib.MainLoop().run()
