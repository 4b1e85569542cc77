import { checkoutOrder } from "./cart";

declare const globalThis: { capture(error: unknown): void };

function handleOrder(order: number): void {
  try {
    console.log(checkoutOrder(order));
  } catch (error) {
    globalThis.capture(error);
  }
}

handleOrder(50);
