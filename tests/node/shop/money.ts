export class PriceError extends Error {
  name = "PriceError";
}

/** Reads a price, as people write it. */
export function parsePrice(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) {
    throw new PriceError(`the price ${text} is no number`);
  }
  return Number(text);
}
