import { parsePrice } from "./money";

export interface Line {
  price: string;
}

export class Cart {
  constructor(private readonly lines: Line[]) {}

  totalOfLines(): number {
    let sum = 0;
    for (const line of this.lines) sum += parsePrice(line.price);
    return sum;
  }
}

export const checkoutOrder = (order: number): number => {
  const cart = new Cart([{ price: "17" }, { price: `9,${order}` }]);
  return cart.totalOfLines();
};
