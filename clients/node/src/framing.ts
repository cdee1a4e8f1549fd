/** gRPC's length-prefixed messages (gRPC over HTTP/2, "Length-Prefixed-Message"). */

/** One message, uncompressed, with its prefix. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX);
  return framed;
}

/** Cuts what comes from the wire, in whatever pieces, into messages. */
export class Unframer {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * The messages that are complete with this piece.
   *
   * @throws Error if a message is compressed, which nobody asked for, or longer than {@link LONGEST}.
   */
  push(piece: Uint8Array): Uint8Array[] {
    this.#rest = this.#rest.length === 0 ? Buffer.from(piece) : Buffer.concat([this.#rest, piece]);
    const messages: Uint8Array[] = [];
    for (;;) {
      if (this.#rest.length < PREFIX) return messages;
      if (this.#rest.readUInt8(0) !== 0) throw new Error("a compressed message came, which nobody asked for");
      const length = this.#rest.readUInt32BE(1);
      if (length > LONGEST) throw new Error(`a message of ${length} bytes came; ${LONGEST} are allowed`);
      const end = PREFIX + length;
      if (this.#rest.length < end) return messages;
      messages.push(this.#rest.subarray(PREFIX, end));
      this.#rest = this.#rest.subarray(end);
    }
  }
}

const PREFIX = 5;

/** Longest message accepted, in bytes: gRPC's usual limit. */
export const LONGEST = 4 * 1024 * 1024;
