/** Receives a stream for stream_receive_test.ts: FILE FOLDER [plain]. */
import { receiveStream } from "../../lib/stream/receive.ts";
import { fileSource } from "../../lib/stream/source.ts";

const [file, folder, kind] = Deno.args as [string, string, string];
await receiveStream(fileSource(file), { folder, plain: kind === "plain" });
