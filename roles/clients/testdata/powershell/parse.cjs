// Reads a JSON list of PowerShell scripts, and prints what the grammar sees in each.
const { Parser, Language } = require("web-tree-sitter");

(async () => {
  await Parser.init();
  const parser = new Parser();
  parser.setLanguage(await Language.load(require.resolve("tree-sitter-powershell/tree-sitter-powershell.wasm")));
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const seen = JSON.parse(text).map((script) => {
    const root = parser.parse(script).rootNode;
    const found = { Error: root.hasError, Commands: [], Strings: [], Keys: [], Values: [] };
    const walk = (node) => {
      if (node.type === "command") found.Commands.push(words(node));
      if (node.type === "verbatim_string_characters") found.Strings.push(node.text);
      if (node.type === "hash_entry") {
        found.Keys.push(node.child(0).text.trim());
        found.Values.push(node.child(node.childCount - 1).text.trim());
      }
      for (let i = 0; i < node.childCount; i++) walk(node.child(i));
    };
    walk(root);
    return found;
  });
  console.log(JSON.stringify(seen));
})();

// words returns the name of a command and what stands behind it.
function words(command) {
  const out = [command.childForFieldName("command_name").text];
  const elements = command.childForFieldName("command_elements");
  for (let i = 0; elements && i < elements.childCount; i++) {
    const text = elements.child(i).text.trim();
    if (text) out.push(text);
  }
  return out;
}
