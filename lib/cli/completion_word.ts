/** First argument that asks for completions instead of naming a command. */
export const COMPLETE_WORD = "__complete";
