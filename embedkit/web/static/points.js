// A layer of deck.gl: points of one size in pixels and of four shapes, filled or as rings.
//
// deck.gl's own ScatterplotLayer draws an instance of a square for each point. Where there is no
// GPU, Chromium draws instances one by one, and 100,000 take two seconds; as points they take a
// tenth of it.

import { SPREAD } from "./shapes.js";

const block = `layout(std140) uniform pointsUniforms {
  float radius;
  float line;
} points;
`;
const uniforms = {
  name: "points", vs: block, fs: block, uniformTypes: { radius: "f32", line: "f32" },
};

const size = `(${(2 * SPREAD).toFixed(2)} * points.radius + 1.0)`;

const vs = `#version 300 es
in vec2 position;
in vec4 color;
in float shape;
out vec4 pointColor;
flat out float pointShape;

void main() {
  geometry.worldPosition = vec3(position, 0.0);
  geometry.pickingColor = picking_getPickingColorFromIndex(float(gl_VertexID));
  gl_Position = project_position_to_clipspace(
    geometry.worldPosition, vec3(0.0), vec3(0.0), geometry.position);
  DECKGL_FILTER_GL_POSITION(gl_Position, geometry);
  gl_PointSize = ${size} * project.devicePixelRatio;
  if (color.a == 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);  // it is hidden: outside
  pointColor = color;
  pointShape = shape;
  DECKGL_FILTER_COLOR(pointColor, geometry);
}`;

const fs = `#version 300 es
precision highp float;
in vec4 pointColor;
flat in float pointShape;
out vec4 fragColor;

float awayOf(vec2 at) {
  if (pointShape < 0.5) return length(at);
  if (pointShape < 1.5) return max(abs(at.x), abs(at.y)) / 0.886;
  if (pointShape < 2.5) return max(at.y, 0.866 * abs(at.x) - at.y / 2.0) / 0.7;
  return (abs(at.x) + abs(at.y)) / 1.253;
}

void main() {
  float away = awayOf((gl_PointCoord - 0.5) * ${size});
  float edge = clamp(points.radius + 0.5 - away, 0.0, 1.0)  // smooth, half a pixel either side
    * clamp(away - points.radius + points.line + 0.5, 0.0, 1.0);
  if (edge == 0.0) discard;
  fragColor = vec4(pointColor.rgb, pointColor.a * edge);
  DECKGL_FILTER_COLOR(fragColor, geometry);
}`;

/** `data` holds the attributes getPosition (2 floats), getFillColor (4 bytes; alpha 0: hidden) and
 * getShape (a float). */
export class PointsLayer extends deck.Layer {
  static layerName = "PointsLayer";
  static defaultProps = {
    radius: 3,
    line: 1e3,  // width of the ring inwards; by default the point is full
    getPosition: { type: "accessor" },
    getFillColor: { type: "accessor" },
    getShape: { type: "accessor" },
  };

  getShaders() {
    return super.getShaders({ vs, fs, modules: [deck.project32, deck.picking, uniforms] });
  }

  initializeState() {
    this.getAttributeManager().add({
      position: { size: 2, accessor: "getPosition" },
      color: { size: 4, type: "unorm8", accessor: "getFillColor" },
      shape: { size: 1, accessor: "getShape" },
    });
    this.state.model = new luma.Model(this.context.device, {
      ...this.getShaders(),
      id: this.props.id,
      topology: "point-list",
      bufferLayout: this.getAttributeManager().getBufferLayouts(),
    });
  }

  draw() {
    const { model } = this.state;
    model.setVertexCount(this.getNumInstances());
    model.shaderInputs.setProps({ points: { radius: this.props.radius, line: this.props.line } });
    model.draw(this.context.renderPass);
  }
}
