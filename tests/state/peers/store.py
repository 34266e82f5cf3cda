"""A GDBus service with values, a set and a log of every call, that misbehaves on demand.

Arm(method, mode) makes the next call of a method: fail, deny:NAME, hang, late (acts, then
never answers), lie (answers, does nothing), die, wait (acts, answers at Release).
"""
import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib
import os

XML = """<node><interface name="org.test.Store">
<method name="SetA"><arg name="value" type="s" direction="in"/></method>
<method name="SetB"><arg name="value" type="s" direction="in"/></method>
<method name="SetC"><arg name="value" type="s" direction="in"/></method>
<method name="GetItems"><arg type="as" direction="out"/></method>
<method name="AddItem"><arg name="item" type="s" direction="in"/></method>
<method name="RemoveItem"><arg name="item" type="s" direction="in"/></method>
<method name="Arm"><arg name="method" type="s" direction="in"/><arg name="mode" type="s" direction="in"/></method>
<method name="Release"/>
<method name="GetLog"><arg type="as" direction="out"/></method>
<property name="A" type="s" access="read"/>
<property name="B" type="s" access="read"/>
<property name="C" type="s" access="read"/>
<property name="N" type="t" access="readwrite"/>
</interface></node>"""
PATH = "/org/test/Store"
values = {"A": "a", "B": "b", "C": "c"}
number = [GLib.Variant("t", 7)]
items = ["one", "two"]
armed, log, held, waiting = {}, [], [], []
ERROR = "org.test.Store.Error"


def act(method, args):
    if method.startswith("Set"):
        values[method[3:]] = args[0]
    elif method == "AddItem":
        if args[0] in items:
            return "ALREADY: " + args[0]
        items.append(args[0])
    elif method == "RemoveItem":
        items.remove(args[0])
    return None


def call(connection, sender, path, interface, method, args, invocation):
    if method == "Arm":
        armed[args[0]] = args[1]
        return invocation.return_value(None)
    if method == "Release":
        while waiting:
            waiting.pop().return_value(None)
        return invocation.return_value(None)
    if method == "GetLog":
        return invocation.return_value(GLib.Variant("(as)", (log,)))
    mode = armed.pop(method, "")
    if method == "GetItems":
        if mode == "fail":
            return invocation.return_dbus_error(ERROR, "told to fail")
        return invocation.return_value(GLib.Variant("(as)", (items,)))
    log.append(method + "(" + ", ".join(args) + ")")
    if mode == "fail":
        return invocation.return_dbus_error(ERROR, "told to fail")
    if mode.startswith("deny:"):
        return invocation.return_dbus_error(mode[5:], "no")
    if mode == "hang":
        return held.append(invocation)
    if mode == "die":
        os._exit(1)
    if mode == "lie":
        return invocation.return_value(None)
    error = act(method, args)
    if mode == "late":
        return held.append(invocation)
    if mode == "wait":
        return waiting.append(invocation)
    if error:
        return invocation.return_dbus_error(ERROR, error)
    changed = GLib.Variant("(sa{sv}as)", ("org.test.Store", {}, ["A"]))
    connection.emit_signal(None, PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged", changed)
    invocation.return_value(None)


def get(connection, sender, path, interface, name):
    return number[0] if name == "N" else GLib.Variant("s", values[name])


def set_(connection, sender, path, interface, name, value):
    log.append("N = " + value.print_(False))
    number[0] = value
    return True


def acquired(connection, name):
    info = Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0]
    connection.register_object(PATH, info, call, get, set_)


Gio.bus_own_name(Gio.BusType.SESSION, "org.test.Store", 0, acquired, None, None)
GLib.MainLoop().run()
