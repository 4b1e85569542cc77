// In front of everything else, so that every minified name and place of a second build is another one.
export const features = ["search", "cart", "wishlist"].map((name) => ({ name, on: name.length > 4 }));
function describe(feature: { name: string; on: boolean }): string {
  return `${feature.name} is ${feature.on ? "on" : "off"}`;
}
function describeAll(): string[] {
  return features.map(describe);
}
if (describeAll().length !== 3) console.log(describeAll());
