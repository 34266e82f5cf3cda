;; SIMD kernels for vectors as they lie in packs (codec_int.ts has the layouts).
;; Built into kernel_wasm.ts by scripts/lib/build_kernel.ts; a test compares the two.
(module
  (memory (export "memory") 16)

  ;; Sixteen bytes from $at: eight 12-bit numbers as i16 lanes.
  (func $unpack12 (param $at i32) (result v128)
    (i16x8.shr_s
      (i16x8.mul
        (i8x16.swizzle
          (v128.load align=1 (local.get $at))
          (v128.const i8x16 0 1 1 2 3 4 4 5 6 7 7 8 9 10 10 11))
        (v128.const i16x8 16 1 16 1 16 1 16 1))
      (i32.const 4)))

  ;; Eight 12-bit numbers at a time from $src to floats at $dst, times $scale.
  (func (export "decode12") (param $src i32) (param $dst i32) (param $blocks i32) (param $scale f32)
    (local $lanes v128) (local $factor v128)
    (local.set $factor (f32x4.splat (local.get $scale)))
    (block $done
      (br_if $done (i32.eqz (local.get $blocks)))
      (loop $next
        (local.set $lanes (call $unpack12 (local.get $src)))
        (v128.store (local.get $dst)
          (f32x4.mul (local.get $factor)
            (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (local.get $lanes)))))
        (v128.store offset=16 (local.get $dst)
          (f32x4.mul (local.get $factor)
            (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (local.get $lanes)))))
        (local.set $src (i32.add (local.get $src) (i32.const 12)))
        (local.set $dst (i32.add (local.get $dst) (i32.const 32)))
        (local.set $blocks (i32.sub (local.get $blocks) (i32.const 1)))
        (br_if $next (local.get $blocks)))))

  (func $sum4 (param $lanes v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $lanes)) (f32x4.extract_lane 1 (local.get $lanes)))
      (f32.add (f32x4.extract_lane 2 (local.get $lanes)) (f32x4.extract_lane 3 (local.get $lanes)))))

  ;; For $count records $stride bytes apart from $src: the scalar product with the floats
  ;; at $query and the square of the length, two floats each to $out. $kind is the codec's
  ;; number: 1 floats, 4 int12, 5 int8 (unscaled: a cosine needs no scale).
  (func (export "dots") (param $kind i32) (param $query i32) (param $blocks i32)
      (param $src i32) (param $stride i32) (param $count i32) (param $out i32)
    (local $p i32) (local $q i32) (local $left i32)
    (local $lanes v128) (local $a v128) (local $b v128) (local $dot v128) (local $len v128)
    (block $done
      (br_if $done (i32.eqz (local.get $count)))
      (loop $record
        (local.set $p (local.get $src))
        (local.set $q (local.get $query))
        (local.set $left (local.get $blocks))
        (local.set $dot (v128.const f32x4 0 0 0 0))
        (local.set $len (v128.const f32x4 0 0 0 0))
        (loop $block
          (if (i32.eq (local.get $kind) (i32.const 1))
            (then
              (local.set $a (v128.load align=1 (local.get $p)))
              (local.set $b (v128.load offset=16 align=1 (local.get $p)))
              (local.set $p (i32.add (local.get $p) (i32.const 32))))
            (else
              (if (i32.eq (local.get $kind) (i32.const 4))
                (then
                  (local.set $lanes (call $unpack12 (local.get $p)))
                  (local.set $p (i32.add (local.get $p) (i32.const 12))))
                (else
                  (local.set $lanes (v128.load8x8_s align=1 (local.get $p)))
                  (local.set $p (i32.add (local.get $p) (i32.const 8)))))
              (local.set $a (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (local.get $lanes))))
              (local.set $b (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s (local.get $lanes))))))
          (local.set $dot (f32x4.add (local.get $dot)
            (f32x4.add
              (f32x4.mul (local.get $a) (v128.load (local.get $q)))
              (f32x4.mul (local.get $b) (v128.load offset=16 (local.get $q))))))
          (local.set $len (f32x4.add (local.get $len)
            (f32x4.add
              (f32x4.mul (local.get $a) (local.get $a))
              (f32x4.mul (local.get $b) (local.get $b)))))
          (local.set $q (i32.add (local.get $q) (i32.const 32)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $block (local.get $left)))
        (f32.store (local.get $out) (call $sum4 (local.get $dot)))
        (f32.store offset=4 (local.get $out) (call $sum4 (local.get $len)))
        (local.set $out (i32.add (local.get $out) (i32.const 8)))
        (local.set $src (i32.add (local.get $src) (local.get $stride)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $record (local.get $count))))))
