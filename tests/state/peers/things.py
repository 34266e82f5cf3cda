"""A GDBus service with objects that are made and deleted, and an ObjectManager.

Arm(method, mode) makes the next call of a method: fail, or type:SIGNATURE:TEXT (answers with
a value that introspection does not promise, written as GLib writes it), or linger:N (of
DeleteThing: its object answers until N of its properties were read).
"""
import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib

ROOT = "/org/test/Things"
MANAGER = """<node><interface name="org.test.Things">
<method name="ListThings"><arg type="ao" direction="out"/></method>
<method name="GetMood"><arg name="mood" type="s" direction="out"/></method>
<method name="SetMood"><arg name="mood" type="s" direction="in"/></method>
<method name="CreateThing"><arg name="name" type="s" direction="in"/><arg name="colour" type="s" direction="in"/><arg name="object" type="o" direction="out"/></method>
<method name="DeleteThing"><arg name="name" type="s" direction="in"/></method>
<method name="Arm"><arg name="method" type="s" direction="in"/><arg name="mode" type="s" direction="in"/></method>
<method name="GetLog"><arg type="as" direction="out"/></method>
</interface><interface name="org.freedesktop.DBus.ObjectManager">
<method name="GetManagedObjects"><arg type="a{oa{sa{sv}}}" direction="out"/></method>
</interface></node>"""
THING = """<node><interface name="org.test.Thing">
<method name="SetSize"><arg name="size" type="u" direction="in"/></method>
<property name="Name" type="s" access="read"/>
<property name="Colour" type="s" access="read"/>
<property name="Size" type="u" access="read"/>
<property name="Serial" type="t" access="read"/>
</interface></node>"""
things, ghosts, armed, log, made, mood = {}, {}, {}, [], [0], ["calm"]
bus = []


def variants(thing):
    return {
        "Name": GLib.Variant("s", thing["Name"]),
        "Colour": GLib.Variant("s", thing["Colour"]),
        "Size": GLib.Variant("u", thing["Size"]),
        "Serial": GLib.Variant("t", thing["Serial"]),
    }


def create(name, colour, size=0):
    made[0] += 1
    path = ROOT + "/t" + str(made[0])
    info = Gio.DBusNodeInfo.new_for_xml(THING).interfaces[0]
    thing = {"Name": name, "Colour": colour, "Size": size, "Serial": 2**63 + made[0]}
    things[path] = thing
    thing["id"] = bus[0].register_object(path, info, call, get, None)
    return path


def answer_with(invocation, signature, text):
    reply = Gio.DBusMessage.new_method_reply(invocation.get_message())
    value = GLib.Variant.parse(GLib.VariantType.new(signature), text, None, None)
    reply.set_body(GLib.Variant.new_tuple(value))
    bus[0].send_message(reply, Gio.DBusSendMessageFlags.NONE)


def call(connection, sender, path, interface, method, args, invocation):
    mode = "" if method == "Arm" else armed.pop(method, "")
    if mode == "fail":
        return invocation.return_dbus_error("org.test.Things.Error", "told to fail")
    if mode.startswith("type:"):
        _, signature, text = mode.split(":", 2)
        return answer_with(invocation, signature, text)
    if method == "Arm":
        armed[args[0]] = args[1]
    elif method == "GetLog":
        return invocation.return_value(GLib.Variant("(as)", (log,)))
    elif method == "GetMood":
        return invocation.return_value(GLib.Variant("(s)", (mood[0],)))
    elif method == "ListThings":
        return invocation.return_value(GLib.Variant("(ao)", (list(things),)))
    elif method == "GetManagedObjects":
        all = {path: {"org.test.Thing": variants(thing)} for path, thing in things.items()}
        return invocation.return_value(GLib.Variant("(a{oa{sa{sv}}})", (all,)))
    else:
        log.append(method + "(" + ", ".join(map(str, args)) + ")")
    if method == "SetMood":
        mood[0] = args[0]
    elif method == "CreateThing":
        return invocation.return_value(GLib.Variant("(o)", (create(args[0], args[1]),)))
    elif method == "DeleteThing":
        for at in [at for at, thing in things.items() if thing["Name"] == args[0]]:
            ghost = things.pop(at)
            if mode.startswith("linger:"):
                ghosts[at] = dict(ghost, left=int(mode[7:]))
            else:
                connection.unregister_object(ghost["id"])
    elif method == "SetSize":
        things[path]["Size"] = args[0]
    invocation.return_value(None)


def get(connection, sender, path, interface, name):
    if path in things:
        return variants(things[path])[name]
    ghost = ghosts[path]
    ghost["left"] -= 1
    if ghost["left"] == 0:
        GLib.idle_add(connection.unregister_object, ghost["id"])
    return variants(ghost)[name]


def acquired(connection, name):
    bus.append(connection)
    for info in Gio.DBusNodeInfo.new_for_xml(MANAGER).interfaces:
        connection.register_object(ROOT, info, call, None, None)
    for n, colour in enumerate(["red", "green", "blue"]):
        create("thing" + str(n), colour, n)


Gio.bus_own_name(Gio.BusType.SESSION, "org.test.Things", 0, acquired, None, None)
GLib.MainLoop().run()
