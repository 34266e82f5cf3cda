/** `kind = "toggle"`: on or off, by two methods. */
import { stateError } from "../document.ts";
import { isUnknown, unknown } from "../model.ts";
import { change, fixedChange, type Kind, unknownChange } from "./kind.ts";

export const toggle: Kind = {
  validate(context, desired, pointer) {
    if (typeof desired !== "boolean") {
      throw stateError(context.file, pointer, "expected true or false");
    }
  },
  async observe({ state }, reader, bindings) {
    const found = await reader.read(state.read!, bindings);
    if (typeof found === "boolean" || isUnknown(found)) return found;
    return unknown(`expected true or false, the service says ${JSON.stringify(found)}`);
  },
  relevant(_context, _desired, observed) {
    return observed;
  },
  diff(context, bindings, key, desired, observed) {
    if (isUnknown(observed)) {
      return [unknownChange(context, key, undefined, desired, observed)];
    }
    if (desired === observed) return [];
    if (!context.state[desired ? "on" : "off"]) {
      return [fixedChange(context, key, undefined, desired, observed)];
    }
    const back = desired ? "off" : "on";
    const canUndo = context.state[back] !== undefined;
    return [change(context, {
      key,
      action: "modify",
      before: observed,
      after: desired,
      call: { part: desired ? "on" : "off", bindings },
      undo: canUndo ? { part: back, bindings } : null,
      undoNote: canUndo ? undefined : `the mapping has no "${back}"`,
      inverse: observed,
    })];
  },
};
