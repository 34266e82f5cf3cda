/** `kind = "value"`: one value, read and written whole. */
import { type Json, sameValue } from "../../dbus/value.ts";
import { valueType } from "../bindings.ts";
import { isUnknown } from "../model.ts";
import { change, checkType, fixedChange, type Kind, unknownChange } from "./kind.ts";

export const value: Kind = {
  validate(context, desired, pointer) {
    const { state, plugin } = context;
    const type = state.type ?? valueType(plugin.mapping, state.write, undefined);
    checkType(context, type, desired, pointer);
  },
  observe({ state }, reader, bindings) {
    return reader.read(state.read!, bindings, state.type);
  },
  relevant(_context, _desired, observed) {
    return observed;
  },
  diff(context, bindings, key, desired, observed) {
    if (isUnknown(observed)) {
      return [unknownChange(context, key, undefined, desired, observed)];
    }
    if (sameValue(desired, observed)) return [];
    if (!context.state.write) {
      return [fixedChange(context, key, undefined, desired, observed)];
    }
    const call = (value: Json) => ({ part: "write", bindings: { ...bindings, value } });
    return [change(context, {
      key,
      action: "modify",
      before: observed,
      after: desired,
      call: call(desired),
      undo: call(observed),
      inverse: observed,
    })];
  },
};
